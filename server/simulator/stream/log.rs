use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::model::{PostId, Rule, UnixMillis};
use crate::simulator::config::Framing;
use crate::simulator::truth::Truth;

/// A message of the log.
#[derive(Debug)]
pub(in crate::simulator) struct Entry {
    pub(in crate::simulator) framing: Framing,
    /// Bytes of payload up to and with this one, since the start.
    pub(in crate::simulator) end_offset: u64,
    /// Of the post, or of the last one before.
    ordinal: u64,
    published: UnixMillis,
    pub(in crate::simulator) content: Content,
}

#[derive(Debug)]
pub(in crate::simulator) enum Content {
    Post(Truth),
    /// Bytes for those who are connected now.
    Raw(Bytes),
}

/// A post that is to be published.
#[derive(Debug)]
pub(in crate::simulator) struct Draft {
    pub(in crate::simulator) post_id: PostId,
    pub(in crate::simulator) rules: Arc<[Rule]>,
    pub(in crate::simulator) json: String,
    pub(in crate::simulator) created: UnixMillis,
    pub(in crate::simulator) datacenter: usize,
}

/// All that was sent, as far back as is kept: history and truth in one.
#[derive(Debug)]
pub(in crate::simulator) struct Log {
    inner: RwLock<Inner>,
    tip: watch::Sender<u64>,
    framing: Framing,
    entries_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Arc<Entry>>,
    /// Number of the first entry kept.
    first: u64,
    bytes: usize,
    offset: u64,
    ordinal: u64,
    latest: UnixMillis,
    /// Posts no longer kept.
    dropped: u64,
}

impl Log {
    pub(in crate::simulator) fn new(framing: Framing, entries_max: usize, bytes_max: usize) -> Self {
        Self { inner: RwLock::default(), tip: watch::Sender::new(0), framing, entries_max, bytes_max }
    }

    /// Appends a post; gives it as it is in the truth.
    pub(in crate::simulator) fn publish(&self, draft: Draft, now: UnixMillis) -> Truth {
        let mut inner = self.inner.write();
        inner.ordinal += 1;
        let framing = self.framing.of(inner.ordinal);
        let json = if framing == Framing::Pretty { crate::simulator::post::indented(&draft.json) } else { draft.json };
        let Draft { post_id, rules, created, datacenter, .. } = draft;
        let published = now.max(inner.latest);
        let truth = Truth { ordinal: inner.ordinal, post_id, rules, json: json.into(), created, published, datacenter };
        self.append(&mut inner, framing, published, truth.json.len(), Content::Post(truth.clone()));
        truth
    }

    /// Appends bytes that are no post.
    pub(in crate::simulator) fn inject(&self, raw: Bytes, now: UnixMillis) {
        let mut inner = self.inner.write();
        let published = now.max(inner.latest);
        self.append(&mut inner, self.framing, published, raw.len(), Content::Raw(raw));
    }

    fn append(&self, inner: &mut Inner, framing: Framing, published: UnixMillis, bytes: usize, content: Content) {
        inner.offset += bytes as u64;
        inner.bytes += bytes;
        inner.latest = published;
        let entry = Entry { framing, end_offset: inner.offset, ordinal: inner.ordinal, published, content };
        inner.entries.push_back(Arc::new(entry));
        while inner.entries.len() > self.entries_max.max(1) || (inner.bytes > self.bytes_max && inner.entries.len() > 1)
        {
            let Some(oldest) = inner.entries.pop_front() else { break };
            inner.first += 1;
            inner.bytes -= oldest.bytes();
            inner.dropped += u64::from(oldest.post().is_some());
        }
        self.tip.send_replace(inner.first + inner.entries.len() as u64);
    }

    /// Changes with each message; its value is the number of the next one.
    pub(in crate::simulator) fn tip(&self) -> watch::Receiver<u64> {
        self.tip.subscribe()
    }

    /// Number of the next message, and bytes since the start.
    pub(in crate::simulator) fn end(&self) -> (u64, u64) {
        let inner = self.inner.read();
        (inner.first + inner.entries.len() as u64, inner.offset)
    }

    /// Messages from this number on, so many at most, and the number after them; what is no longer kept is left out.
    pub(in crate::simulator) fn read(&self, from: u64, max: usize) -> (Vec<Arc<Entry>>, u64) {
        let inner = self.inner.read();
        let from = from.max(inner.first);
        let start = inner.entries.len().min((from - inner.first) as usize);
        let entries: Vec<_> = inner.entries.range(start..).take(max).cloned().collect();
        let next = from + entries.len() as u64;
        (entries, next)
    }

    /// Number of the first message published at this time or later.
    pub(in crate::simulator) fn at(&self, time: UnixMillis) -> u64 {
        let inner = self.inner.read();
        inner.first + inner.entries.partition_point(|entry| entry.published < time) as u64
    }

    /// The truth after this ordinal, so many at most.
    pub(in crate::simulator) fn truth_after(&self, ordinal: u64, max: usize) -> Vec<Truth> {
        let inner = self.inner.read();
        let start = inner.entries.partition_point(|entry| entry.ordinal <= ordinal);
        // An injected message has the ordinal of the post before it, so it never stands in front of that post.
        inner.entries.range(start..).filter_map(|entry| entry.post()).take(max).cloned().collect()
    }

    /// Posts published since the start, and those of them no longer kept.
    pub(in crate::simulator) fn counts(&self) -> (u64, u64) {
        let inner = self.inner.read();
        (inner.ordinal, inner.dropped)
    }
}

impl Entry {
    pub(in crate::simulator) fn post(&self) -> Option<&Truth> {
        match &self.content {
            Content::Post(truth) => Some(truth),
            Content::Raw(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Post(truth) => truth.json.len(),
            Content::Raw(raw) => raw.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(log: &Log, id: u64) -> Truth {
        let json = format!("{{\"id\":{id}}}");
        let time = UnixMillis(id as i64);
        log.publish(Draft { post_id: PostId(id), rules: [].into(), json, created: time, datacenter: 0 }, time)
    }

    #[test]
    fn the_log_keeps_what_it_may_and_counts_what_it_dropped() {
        let log = Log::new(Framing::Crlf, 4, 1 << 20);
        (1..=3).for_each(|id| drop(publish(&log, id)));
        log.inject(Bytes::from_static(b"x"), UnixMillis(3));
        (4..=6).for_each(|id| drop(publish(&log, id)));
        let ordinals = |after: u64| log.truth_after(after, 10).iter().map(|truth| truth.ordinal).collect::<Vec<_>>();
        assert_eq!((ordinals(0), ordinals(4), log.counts()), (vec![4, 5, 6], vec![5, 6], (6, 3)));
        let (entries, next) = log.read(0, 2);
        assert_eq!((entries.len(), next), (2, 5));
        assert!(entries[0].post().is_none());
        assert_eq!((log.at(UnixMillis(5)), log.at(UnixMillis(99)), *log.tip().borrow()), (5, 7, 7));
    }

    #[test]
    fn bytes_are_bounded_too_and_time_never_runs_back() {
        let log = Log::new(Framing::Crlf, 100, 20);
        (1..=9).for_each(|id| drop(publish(&log, id)));
        assert_eq!(log.truth_after(0, 10).len(), 2);
        assert_eq!(publish(&log, 5).published, UnixMillis(9));
    }

    #[test]
    fn mixed_framing_takes_turns() {
        let log = Log::new(Framing::Mixed, 100, 1 << 20);
        let lines: Vec<_> = (1..=4).map(|id| publish(&log, id).json.iter().filter(|b| **b == b'\n').count()).collect();
        assert_eq!(lines, [0, 0, 2, 0]);
        let framings: Vec<_> = log.read(0, 9).0.iter().map(|entry| entry.framing).collect();
        assert_eq!(framings, [Framing::Lf, Framing::Array, Framing::Pretty, Framing::Crlf]);
    }
}
