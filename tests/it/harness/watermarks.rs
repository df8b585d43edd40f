//! What low watermarks promise: everything created before one has been delivered, or lies in a gap that was announced.

use std::collections::HashSet;

use powerstream_gateway::model::{Spans, UnixMillis};
use powerstream_gateway::proto::{Event, GapState};
use powerstream_gateway::simulator::Truth;

use super::gaps::{Gaps, millis};
use super::{Lineage, Subscriber};

/// One consumer over all its sessions, and the low watermarks that it was given.
pub struct Watched {
    /// What it got.
    pub lineage: Lineage,
    /// Low watermarks, with how many posts had come before each.
    marks: Vec<(UnixMillis, usize)>,
}

impl Watched {
    /// It has not begun.
    pub fn new(lineage: Lineage) -> Self {
        Self { lineage, marks: Vec::new() }
    }

    /// Takes over what a session brought.
    pub fn follow(&mut self, session: &Subscriber) {
        let had = self.lineage.got.len();
        let mark = |beat: &powerstream_gateway::proto::Heartbeat| {
            let mark = beat.low_watermark.as_ref().expect("a heartbeat has a low watermark");
            (millis(mark), had + beat.delivered_total as usize)
        };
        self.marks.extend(session.heartbeats.iter().map(mark));
        self.lineage.follow(session);
    }

    /// No post that is due is from before a low watermark and came after it, unless it was told to be lost. All came once,
    /// or lie in a gap that is not closed.
    pub fn judge(&self, who: &str, due: &[Truth], sent: &[Truth]) {
        let Self { lineage, marks } = self;
        lineage.gaps.check(who, &lineage.got);
        assert!(marks.len() > 3, "{who}: {} heartbeats", marks.len());
        let lost = lineage.gaps.spans(&[GapState::Unrecoverable]);
        for (mark, had) in marks {
            let early = |post: &&Truth| post.created < *mark && !lost.contains(post.created);
            let got: HashSet<u64> = lineage.got[..*had].iter().map(|event| event.post_id).collect();
            let passed: Vec<_> = due.iter().filter(early).filter(|post| !got.contains(&post.post_id.0)).collect();
            assert!(
                passed.is_empty(),
                "{who}: the low watermark {mark} passed {} posts, the first of {}: {:#?}",
                passed.len(),
                passed[0].created,
                lineage.gaps.stories()
            );
        }
        assert_once(who, due, sent, &lineage.got, &lineage.gaps.excused(), &lineage.gaps);
    }
}

/// Every post that is due came, or is excused; none came twice, and none that was not sent.
fn assert_once(who: &str, due: &[Truth], sent: &[Truth], got: &[Event], excused: &Spans, gaps: &Gaps) {
    let ids: HashSet<u64> = got.iter().map(|event| event.post_id).collect();
    assert_eq!(ids.len(), got.len(), "{who}: posts came twice");
    let known: HashSet<u64> = sent.iter().map(|post| post.post_id.0).collect();
    assert!(ids.is_subset(&known), "{who}: posts came that were not sent");
    let lacking = |post: &&Truth| !ids.contains(&post.post_id.0) && !excused.contains(post.created);
    let missing: Vec<_> = due.iter().filter(lacking).map(|post| (post.created.to_string(), post.datacenter)).collect();
    let first = &missing[..missing.len().min(5)];
    assert!(missing.is_empty(), "{who}: {} of {} are lost: {first:?}; {:#?}", missing.len(), due.len(), gaps.stories());
}
