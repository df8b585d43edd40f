//! For any responses of X, posts that it withholds are not proven, and recovery ends.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::attempt_result::{AttemptEnd, AttemptResult, IncompleteReason, evaluate};
use super::super::job_table::{JobClock, JobRequest, Resolution};
use super::super::planner::RecoveryLimits;
use super::super::transcript::Transcript;
use super::*;
use crate::clock::Moment;
use crate::model::PostId;
use crate::upstream::UpstreamMessage;

const START: UnixMillis = UnixMillis(1_750_000_020_000 / 60_000 * 60_000);
const MINUTES: u32 = 12;
/// Distance of posts: four in a minute.
const POST_INTERVAL: Duration = Duration::from_secs(15);
const POSTS_IN_MINUTE: usize = 4;
const DUE_MIN: u32 = 3;

/// Order in which X sends posts.
#[derive(Clone, Copy, Debug)]
enum Sequence {
    Ordered,
    /// Out of order within a minute.
    Jittered,
    Reversed,
    /// This minute first, and the minutes before it at the end.
    Rotated(usize),
    /// A post of another time before all others.
    Stray(i64),
    /// Two halves interleaved.
    Interleaved,
}

/// X's message at the end.
#[derive(Clone, Copy, Debug)]
enum Word {
    Nothing,
    /// Completed if it is, else the range that was not sent.
    Honest,
    /// As `Honest`, but posts are lost on the way.
    Counted,
    Error,
    Html,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Reply {
    sequence: Sequence,
    /// Number of requested posts that are sent.
    sent: usize,
    word: Word,
    clean: bool,
}

fn replies() -> impl Strategy<Value = Vec<Reply>> {
    let sequence = prop_oneof![
        4 => Just(Sequence::Ordered),
        2 => Just(Sequence::Jittered),
        1 => Just(Sequence::Reversed),
        1 => (1_usize..60).prop_map(Sequence::Rotated),
        1 => (-90_i64..90).prop_map(Sequence::Stray),
        1 => Just(Sequence::Interleaved),
    ];
    let word = prop_oneof![
        4 => Just(Word::Nothing),
        2 => Just(Word::Honest),
        1 => Just(Word::Counted),
        1 => Just(Word::Error),
        1 => Just(Word::Html),
        1 => Just(Word::Unknown),
    ];
    let sent = prop_oneof![1 => Just(0_usize), 4 => 0_usize..60, 2 => Just(usize::MAX)];
    let reply = (sequence, sent, word, any::<bool>());
    prop::collection::vec(reply.prop_map(|(sequence, sent, word, clean)| Reply { sequence, sent, word, clean }), 0..30)
}

fn posts_of(window: TimeRange) -> Vec<UnixMillis> {
    let posts =
        (0..).map(|number| START.plus(POST_INTERVAL * number)).take_while(|at| *at < START.plus(MINUTE * MINUTES));
    posts.filter(|at| window.contains(*at)).collect()
}

/// Fewer than `DUE_MIN` posts at the real rate.
fn is_plausibly_empty(span: TimeRange) -> bool {
    span.to.since(span.from) < POST_INTERVAL * DUE_MIN
}

struct HistoryEnv {
    jobs: JobTable,
    missing: TimeRangeSet,
    delivered: BTreeSet<UnixMillis>,
    now: UnixMillis,
}

fn limits() -> RecoveryLimits {
    Config::default().limits(Duration::from_secs(24 * 3600), Duration::ZERO, Duration::ZERO)
}

impl HistoryEnv {
    fn new() -> Self {
        let missing = [TimeRange::new(START, START.plus(MINUTE * MINUTES))].into_iter().collect();
        let now = START.plus(MINUTE * (MINUTES + 1));
        Self { jobs: JobTable::default(), missing, delivered: BTreeSet::new(), now }
    }

    fn next(&mut self) -> Option<JobRequest> {
        self.jobs.plan(&self.missing, self.now, &limits(), &Config::default());
        self.apply_resolutions();
        let now = JobClock { time: self.now, moment: Moment::default() };
        self.jobs.begin(&self.missing, RequestStamp::default(), now, &limits(), &Config::default())
    }

    /// Proven ranges were delivered, except for posts that X withholds undetectably.
    fn apply_resolutions(&mut self) {
        for resolution in self.jobs.drain_resolutions() {
            let (spans, hidden_max) = match resolution {
                Resolution::Proven(spans, GapEvidence::CleanEof | GapEvidence::NothingDue, _) => {
                    (spans, DUE_MIN as usize)
                }
                Resolution::Proven(spans, GapEvidence::CountMismatch, _) => (spans, usize::MAX),
                Resolution::Proven(spans, ..) => (spans, 0),
                Resolution::Lost(spans, _) => {
                    self.missing.remove_all(&spans);
                    continue;
                }
            };
            let hidden: Vec<_> =
                spans.iter().flat_map(posts_of).filter(|post| !self.delivered.contains(post)).collect();
            assert!(hidden.len() <= hidden_max, "{} of {spans:?} are proven and were never sent", hidden.len());
            self.missing.remove_all(&spans);
        }
    }

    fn answer(&mut self, order: &JobRequest, reply: Reply) {
        let posts = posts_of(order.request);
        let mut sending = reply.sequence.of(&posts);
        let all = sending.len();
        sending.truncate(reply.sent);
        let complete = sending.len() == all;
        let sent: BTreeSet<_> = sending.iter().copied().collect();
        let left = posts.iter().find(|post| !sent.contains(post)).copied();
        if matches!(reply.word, Word::Counted) && complete && left.is_none() {
            sending.retain(|post| post.0 % 7 != 0);
        }
        let (mut transcript, mut new) = (Transcript::new(order.request), 0);
        let reached = |transcript: &Transcript| transcript.proven_to(&order.core, is_plausibly_empty);
        for post in &sending {
            new += u64::from(self.delivered.insert(*post));
            let id = PostId::lowest_at(*post);
            let moved = transcript.record(&UpstreamMessage::classify(Bytes::from(format!(r#"{{"id_str":"{id}"}}"#))));
            if moved {
                self.jobs.advance(order.id, reached(&transcript));
            }
        }
        if let Some(text) = reply.word.text(complete, left, order.request, all) {
            transcript.record(&match text.starts_with('{') {
                true => UpstreamMessage::classify(Bytes::from(text)),
                false => UpstreamMessage::classify_text(text.as_bytes(), 1),
            });
        }
        let (reached, found) = (reached(&transcript), transcript.inside());
        let plausible = transcript.is_plausible(&order.demanded, &order.core, DUE_MIN, is_plausibly_empty);
        let result = evaluate(&AttemptEnd {
            request: order.request,
            transcript,
            reached,
            new,
            clean: reply.clean,
            plausible,
            confirms: order.confirms,
            counts_left: order.counts_left,
        });
        self.jobs.finish_attempt(order.id, &result, found, self.now);
        if let AttemptResult::Again { flaw: IncompleteReason::Count, .. } = result {
            self.jobs.count_differs(order.id);
        }
        self.apply_resolutions();
    }
}

impl Sequence {
    fn of(self, posts: &[UnixMillis]) -> Vec<UnixMillis> {
        let mut posts = posts.to_vec();
        match self {
            Self::Ordered => {}
            Self::Jittered => posts.chunks_mut(3).for_each(<[_]>::reverse),
            Self::Reversed => posts.reverse(),
            Self::Rotated(by) => {
                // Less than a minute late, which is undetectable.
                let by = (by % posts.len().max(1)).max(POSTS_IN_MINUTE).min(posts.len());
                posts.rotate_left(by);
            }
            Self::Stray(minutes) => posts.insert(0, UnixMillis(START.0 + minutes * 60_000 + 1)),
            Self::Interleaved => {
                let (early, late) = posts.split_at(posts.len() / 2);
                posts = early.iter().zip(late).flat_map(|(early, late)| [*early, *late]).collect();
            }
        }
        posts
    }
}

impl Word {
    fn text(self, complete: bool, left: Option<UnixMillis>, request: TimeRange, all: usize) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Error => Some(r#"{"error":{"message":"try again"}}"#.into()),
            Self::Html => Some("<html>".into()),
            Self::Unknown => Some(r#"{"status":"FAILED"}"#.into()),
            Self::Honest | Self::Counted if complete && left.is_none() => {
                Some(format!(r#"{{"info":{{"message":"Recovery Request Completed","activity_count":{all}}}}}"#))
            }
            Self::Counted => None,
            Self::Honest => Some(format!(
                r#"{{"info":{{"message":"Recovery Request Failed to Complete","unprocessed_range":{{"fromDate":"{}","toDate":"{}"}}}}}}"#,
                left.unwrap_or(request.from),
                request.to,
            )),
        }
    }
}

proptest! {
    #[test]
    fn nothing_held_back_is_proven(replies in replies(), restart in 0_usize..30, gives_in in any::<bool>()) {
        let mut env = HistoryEnv::new();
        for (number, reply) in replies.into_iter().enumerate() {
            let Some(order) = env.next() else { break };
            env.answer(&order, reply);
            if number == restart {
                env.jobs = JobTable::restore(env.jobs.snapshot(), RequestStamp::default());
            }
        }
        let whole = Reply { sequence: Sequence::Ordered, sent: usize::MAX, word: Word::Honest, clean: true };
        let html = Reply { sent: 0, word: Word::Html, ..whole };
        for _ in 0..20 {
            let Some(order) = env.next() else { break };
            env.answer(&order, if gives_in { whole } else { html });
        }
        prop_assert!(env.missing.is_empty() || !gives_in, "left: {:?}", env.missing);
        // A range that X never sends is lost once it is too old, and only then.
        env.now = env.now.plus(MINUTE * 60 * 24);
        env.jobs.plan(&env.missing.clone(), env.now, &limits(), &Config::default());
        env.apply_resolutions();
        prop_assert!(env.missing.is_empty(), "left: {:?}", env.missing);
    }
}
