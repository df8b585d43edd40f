use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::model::{PostId, Rule, TimeRange, UnixMillis};
use crate::simulator::config::Framing;
use crate::simulator::sent_post::SentPost;

/// A message of the log.
#[derive(Debug)]
pub(in crate::simulator) struct LogEntry {
    pub(in crate::simulator) framing: Framing,
    /// Bytes of payload up to and with this one, since the start.
    pub(in crate::simulator) end_offset: u64,
    /// Of the post, or of the last one before.
    ordinal: u64,
    /// The time by which a window takes or leaves it.
    time: UnixMillis,
    /// True if it was added to the past: open connections do not receive it.
    pub(in crate::simulator) past: bool,
    pub(in crate::simulator) content: EntryContent,
}

#[derive(Debug)]
pub(in crate::simulator) enum EntryContent {
    Post(SentPost),
    /// Bytes for the open connections.
    Raw(Bytes),
}

/// A post that is to be published.
#[derive(Debug)]
pub(in crate::simulator) struct UnsentPost {
    pub(in crate::simulator) post_id: PostId,
    pub(in crate::simulator) rules: Arc<[Rule]>,
    pub(in crate::simulator) json: String,
    pub(in crate::simulator) created: UnixMillis,
    pub(in crate::simulator) datacenter: usize,
}

/// When a post is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum PublishTime {
    /// At this time, which is now.
    Now(UnixMillis),
    /// When it was created: it is history.
    Past,
}

/// All that was sent, as far back as is kept: history and truth in one.
#[derive(Debug)]
pub(in crate::simulator) struct PostLog {
    inner: RwLock<Inner>,
    tip: watch::Sender<u64>,
    framing: Framing,
    /// Windows go by when posts were published, not by when they were created.
    by_publishing: bool,
    entries_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Arc<LogEntry>>,
    /// The same posts by time and ordinal.
    times: BTreeMap<(UnixMillis, u64), Arc<LogEntry>>,
    /// Number of the first entry kept.
    first: u64,
    bytes: usize,
    offset: u64,
    ordinal: u64,
    latest: UnixMillis,
    /// Posts no longer kept.
    dropped: u64,
}

impl PostLog {
    pub(in crate::simulator) fn new(
        framing: Framing,
        by_publishing: bool,
        entries_max: usize,
        bytes_max: usize,
    ) -> Self {
        let (inner, tip) = (RwLock::default(), watch::Sender::new(0));
        Self { inner, tip, framing, by_publishing, entries_max, bytes_max }
    }

    /// Appends a post; gives it as it is in the truth.
    pub(in crate::simulator) fn publish(&self, draft: UnsentPost, when: PublishTime) -> SentPost {
        self.publish_one(&mut self.inner.write(), draft, when)
    }

    /// Appends history.
    pub(in crate::simulator) fn publish_past(&self, drafts: impl Iterator<Item = UnsentPost>) -> u64 {
        let mut inner = self.inner.write();
        drafts.map(|draft| self.publish_one(&mut inner, draft, PublishTime::Past)).count() as u64
    }

    fn publish_one(&self, inner: &mut Inner, draft: UnsentPost, when: PublishTime) -> SentPost {
        inner.ordinal += 1;
        let framing = self.framing.of(inner.ordinal);
        let json = if framing == Framing::Pretty { crate::simulator::post::indented(&draft.json) } else { draft.json };
        let UnsentPost { post_id, rules, created, datacenter, .. } = draft;
        let published = match when {
            PublishTime::Now(now) => inner.no_earlier(now),
            PublishTime::Past => created,
        };
        let truth =
            SentPost { ordinal: inner.ordinal, post_id, rules, json: json.into(), created, published, datacenter };
        let time = if self.by_publishing { published } else { created };
        let entry = inner.entry(framing, time, when == PublishTime::Past, EntryContent::Post(truth.clone()));
        inner.times.insert((time, truth.ordinal), entry.clone());
        self.append(inner, entry);
        truth
    }

    /// Appends bytes that are no post.
    pub(in crate::simulator) fn inject(&self, raw: Bytes, now: UnixMillis) {
        let mut inner = self.inner.write();
        let now = inner.no_earlier(now);
        let entry = inner.entry(self.framing, now, false, EntryContent::Raw(raw));
        self.append(&mut inner, entry);
    }

    fn append(&self, inner: &mut Inner, entry: Arc<LogEntry>) {
        inner.bytes += entry.bytes();
        inner.entries.push_back(entry);
        while inner.entries.len() > self.entries_max.max(1) || (inner.bytes > self.bytes_max && inner.entries.len() > 1)
        {
            let Some(oldest) = inner.entries.pop_front() else { break };
            inner.first += 1;
            inner.bytes -= oldest.bytes();
            if let Some(post) = oldest.post() {
                inner.dropped += 1;
                inner.times.remove(&(oldest.time, post.ordinal));
            }
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
    pub(in crate::simulator) fn read(&self, from: u64, max: usize) -> (Vec<Arc<LogEntry>>, u64) {
        let inner = self.inner.read();
        let from = from.max(inner.first);
        let start = inner.entries.len().min((from - inner.first) as usize);
        let entries: Vec<_> = inner.entries.range(start..).take(max).cloned().collect();
        let next = from + entries.len() as u64;
        (entries, next)
    }

    /// Number of the next message, bytes since the start, and the posts that are as old as this or newer, oldest first.
    pub(in crate::simulator) fn join(&self, since: Option<UnixMillis>) -> (u64, u64, VecDeque<Arc<LogEntry>>) {
        let inner = self.inner.read();
        let posts = since.map(|since| inner.times.range((since, 0)..).map(|(_, entry)| entry.clone()).collect());
        (inner.first + inner.entries.len() as u64, inner.offset, posts.unwrap_or_default())
    }

    /// The posts of this time, in the order they were sent first.
    pub(in crate::simulator) fn span(&self, span: TimeRange) -> Vec<Arc<LogEntry>> {
        if span.is_empty() {
            return Vec::new();
        }
        let inner = self.inner.read();
        let found = inner.times.range((span.from, 0)..(span.to, 0));
        let mut entries: Vec<_> = found.map(|(_, entry)| entry.clone()).collect();
        entries.sort_by_key(|entry| entry.ordinal);
        entries
    }

    /// The last arrival of this post.
    pub(in crate::simulator) fn latest(&self, post_id: PostId) -> Option<SentPost> {
        let inner = self.inner.read();
        let mut posts = inner.entries.iter().rev().filter_map(|entry| entry.post());
        posts.find(|truth| truth.post_id == post_id).cloned()
    }

    /// The truth after this ordinal, so many at most.
    pub(in crate::simulator) fn truth_after(&self, ordinal: u64, max: usize) -> Vec<SentPost> {
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

impl Inner {
    /// Time on the wire never runs back.
    fn no_earlier(&mut self, now: UnixMillis) -> UnixMillis {
        self.latest = now.max(self.latest);
        self.latest
    }

    /// Posts added to the past do not count towards the backlog of open connections.
    fn entry(&mut self, framing: Framing, time: UnixMillis, past: bool, content: EntryContent) -> Arc<LogEntry> {
        let mut entry = LogEntry { framing, end_offset: 0, ordinal: self.ordinal, time, past, content };
        self.offset += if past { 0 } else { entry.bytes() as u64 };
        entry.end_offset = self.offset;
        Arc::new(entry)
    }
}

impl LogEntry {
    /// The time by which a window takes or leaves it.
    pub(in crate::simulator) fn time(&self) -> UnixMillis {
        self.time
    }

    pub(in crate::simulator) fn post(&self) -> Option<&SentPost> {
        match &self.content {
            EntryContent::Post(truth) => Some(truth),
            EntryContent::Raw(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            EntryContent::Post(truth) => truth.json.len(),
            EntryContent::Raw(raw) => raw.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(framing: Framing, entries_max: usize, bytes_max: usize) -> PostLog {
        PostLog::new(framing, false, entries_max, bytes_max)
    }

    fn draft(id: u64) -> UnsentPost {
        let (json, created) = (format!("{{\"id\":{id}}}"), UnixMillis(id as i64));
        UnsentPost { post_id: PostId(id), rules: [].into(), json, created, datacenter: 0 }
    }

    fn publish(log: &PostLog, id: u64) -> SentPost {
        log.publish(draft(id), PublishTime::Now(UnixMillis(id as i64)))
    }

    fn ids(entries: impl IntoIterator<Item = Arc<LogEntry>>) -> Vec<u64> {
        entries.into_iter().filter_map(|entry| Some(entry.post()?.post_id.0)).collect()
    }

    #[test]
    fn post_log_is_bounded_and_counts_drops() {
        let log = log(Framing::Crlf, 4, 1 << 20);
        (1..=3).for_each(|id| drop(publish(&log, id)));
        log.inject(Bytes::from_static(b"x"), UnixMillis(3));
        (4..=6).for_each(|id| drop(publish(&log, id)));
        let ordinals = |after: u64| log.truth_after(after, 10).iter().map(|truth| truth.ordinal).collect::<Vec<_>>();
        assert_eq!((ordinals(0), ordinals(4), log.counts()), (vec![4, 5, 6], vec![5, 6], (6, 3)));
        let (entries, next) = log.read(0, 2);
        assert_eq!((entries.len(), next), (2, 5));
        assert!(entries[0].post().is_none());
        assert_eq!(ids(log.join(Some(UnixMillis(5))).2), [5, 6]);
        assert_eq!((log.join(None).0, *log.tip().borrow()), (7, 7));
        assert_eq!(
            ids(log.span(TimeRange::new(UnixMillis(0), UnixMillis(6)))),
            [4, 5],
            "what is dropped is in no window"
        );
    }

    #[test]
    fn post_log_bounds_bytes_with_monotonic_time() {
        let log = log(Framing::Crlf, 100, 20);
        (1..=9).for_each(|id| drop(publish(&log, id)));
        assert_eq!(log.truth_after(0, 10).len(), 2);
        assert_eq!(publish(&log, 5).published, UnixMillis(9));
    }

    #[test]
    fn mixed_framing_takes_turns() {
        let log = log(Framing::Mixed, 100, 1 << 20);
        let lines: Vec<_> = (1..=4).map(|id| publish(&log, id).json.iter().filter(|b| **b == b'\n').count()).collect();
        assert_eq!(lines, [0, 0, 2, 0]);
        let framings: Vec<_> = log.read(0, 9).0.iter().map(|entry| entry.framing).collect();
        assert_eq!(framings, [Framing::Lf, Framing::Array, Framing::Pretty, Framing::Crlf]);
    }

    #[test]
    fn history_does_not_affect_live_streams() {
        let log = log(Framing::Crlf, 100, 1 << 20);
        publish(&log, 50);
        let before = log.end();
        assert_eq!(log.publish_past([30, 40].into_iter().map(draft)), 2);
        assert_eq!((log.end().0 - before.0, log.end().1), (2, before.1));
        assert_eq!(log.latest(PostId(30)).map(|truth| truth.published), Some(UnixMillis(30)));
        assert_eq!(ids(log.join(Some(UnixMillis(40))).2), [40, 50]);
        assert_eq!(ids(log.span(TimeRange::new(UnixMillis(0), UnixMillis(51)))), [50, 30, 40], "as they were sent");
        let past: Vec<_> = log.read(0, 9).0.iter().map(|entry| entry.past).collect();
        assert_eq!(past, [false, true, true]);
    }
}
