//! A consumer whose log is lost while it is away.

use powerstream_gateway::model::{TimeRange, UnixMillis};
use powerstream_gateway::proto::{GapCause, GapState, StartOutcome, TagFilter};
use powerstream_gateway::simulator::{Config as Upstream, SentPost};

use super::clock_jump::{Absence, Consumer};
use super::{filters, in_time, latest};

/// The log is lost, and this much time has passed since a consumer of everything had its token.
pub struct Lost {
    /// The gateway, with a new log.
    pub own: Absence,
    /// The consumer.
    pub consumer: Consumer,
    /// Time during which no consumer was connected.
    pub passed: TimeRange,
    /// Posts that were made meanwhile.
    pub made: u64,
}

impl Lost {
    /// Of a consumer of everything; posts but for these first seconds.
    pub async fn for_seconds(seconds: i64, after: u64, per_second: f64, upstream: impl FnOnce(&mut Upstream)) -> Self {
        Self::with_filter(filters::all(), seconds, ((after, 1), per_second), upstream).await
    }

    /// Of a consumer with this filter; posts but for so many first and last seconds.
    pub async fn with_filter(
        filter: TagFilter,
        seconds: i64,
        (but, per_second): ((u64, u64), f64),
        upstream: impl FnOnce(&mut Upstream),
    ) -> Self {
        let mut own = Absence::new(upstream, |_| ()).await;
        let mut consumer = own.consumer(&filter, latest(&filter)).await;
        let had = own.env.post_mix(20);
        consumer.whole(&had).await;
        consumer.leave();
        own.env.stop_gateway().await;
        own.lose_log();
        let passed = own.pass_at_once(seconds);
        let made = own.history(passed, but, per_second);
        own.start().await;
        Self { own, consumer, passed, made }
    }

    /// The consumer reconnects, and live posts continue while it reads.
    pub async fn resume(&mut self) {
        self.consumer.resume(&self.own.env).await;
        assert_eq!(self.consumer.outcome(), StartOutcome::TimeBounded, "never silently live");
    }

    /// Reads until this many posts have come from the side log; sends a live post for each frame with some.
    pub async fn with_live(&mut self, recovered: usize) {
        let (own, consumer) = (&mut self.own, &mut self.consumer);
        let reading = async {
            while consumer.recovered() < recovered {
                let had = consumer.recovered();
                assert!(consumer.read().await, "it ended before");
                if consumer.recovered() > had {
                    own.env.post_mix(1);
                }
            }
        };
        in_time("posts come out of the side log", reading).await;
    }

    /// Asserts that all live, backfilled and recovered posts came once, and missing intervals have ended.
    pub async fn verify(&mut self) {
        let truth = self.truth();
        self.consumer.whole(&truth).await;
        self.consumer.assert_whole("the one that was away", &self.own.env.x, &self.own.losses, &truth);
        self.own.verify().await;
    }

    /// All posts.
    pub fn truth(&self) -> Vec<SentPost> {
        self.own.env.x.sent_posts()
    }

    /// Returns states and causes of its private gaps.
    pub fn reported(&self) -> Vec<(GapState, GapCause)> {
        let mut reported: Vec<_> = self.consumer.own_gaps.iter().map(|gap| (gap.state(), gap.cause())).collect();
        reported.dedup();
        reported
    }

    /// Asserts that posts of the disconnected time came once, and only those near the token are marked.
    pub fn once_and_certain(&self) {
        let mut ids: Vec<_> =
            self.consumer.got.iter().filter(|event| event.sequence == 0).map(|event| event.post_id).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "none comes twice out of the side log");
        let doubtful = self.consumer.doubtful.iter().map(|at| &self.consumer.got[*at]);
        let passed: Vec<_> = doubtful.filter(|event| self.passed.contains(UnixMillis(event.event_time_ms))).collect();
        assert!(passed.is_empty(), "in doubt: {passed:?}");
    }
}
