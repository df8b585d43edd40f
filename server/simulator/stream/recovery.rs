use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Frame;
use serde_json::json;

use super::BodyFrame;
use super::core::{NextAction, StreamCore};
use super::handle::StreamEnd;
use super::post_log::LogEntry;
use super::slots::StreamSlotGuard;
use crate::clock::Moment;
use crate::model::{TimeRange, UnixMillis};
use crate::simulator::config::Completion;
use crate::simulator::faults::{CutKind, JobFault};
use crate::simulator::state::SimulatorState;

/// Jobs work minute by minute (PowerTrack guide).
const MINUTE_MS: i64 = 60_000;

/// The body of a recovery job: the window once more, minute by minute, then the end.
pub(in crate::simulator) struct RecoveryStream {
    line: StreamCore,
    window: TimeRange,
    /// The minute that is to be read next, since 1970.
    minute: i64,
    /// What is still to come of the minute before.
    batch: VecDeque<Arc<LogEntry>>,
    fault: Option<JobFault>,
    /// The job dies like this as soon as the batch is sent.
    dies: Option<CutKind>,
    /// The minutes that were left out.
    failed: Vec<i64>,
    sent: u64,
    started: Moment,
}

impl RecoveryStream {
    pub(in crate::simulator) fn new(
        state: Arc<SimulatorState>,
        slot: StreamSlotGuard,
        gzip: bool,
        window: TimeRange,
    ) -> Self {
        Self {
            started: state.clock.moment().plus(state.config().recovery_delay),
            fault: state.faults.take_job((window.to.0 - window.from.0).div_euclid(MINUTE_MS)),
            line: StreamCore::new(state, slot, gzip),
            minute: window.from.0.div_euclid(MINUTE_MS),
            window,
            batch: VecDeque::new(),
            dies: None,
            failed: Vec::new(),
            sent: 0,
        }
    }

    /// The chunks of the body.
    pub(in crate::simulator) fn into_stream(self) -> impl futures::Stream<Item = BodyFrame> + Send + 'static {
        futures::stream::unfold(self, |mut job| async move {
            let chunk = job.next().await?;
            Some((chunk, job))
        })
    }

    async fn next(&mut self) -> Option<BodyFrame> {
        loop {
            match self.line.next_action().await {
                NextAction::Chunk(chunk) => return Some(Ok(Frame::data(chunk))),
                NextAction::End => return None,
                NextAction::Cut => self.line.abort_in(None),
                NextAction::Serve if self.due() > self.line.state.clock.moment() => self.pace().await,
                NextAction::Serve => self.advance(),
            }
        }
    }

    /// When the next post may be sent at the soonest.
    fn due(&self) -> Moment {
        let seconds = self.sent as f64 / self.line.state.config().recovery_rate.max(0.001);
        self.started.plus(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    async fn pace(&mut self) {
        self.line.encoder.flush();
        let until = self.due().min(self.line.heartbeat);
        self.line.idle(until, std::future::pending()).await;
        self.line.send_heartbeat();
    }

    fn advance(&mut self) {
        if let Some(entry) = self.batch.pop_front() {
            return self.send(&entry);
        }
        if let Some(how) = self.dies.take() {
            return self.abort(how);
        }
        if self.minute > self.last_minute() {
            return match self.fault {
                Some(JobFault::Dies { how, .. }) => self.abort(how),
                _ => self.complete(None),
            };
        }
        let minute = self.minute;
        self.minute += 1;
        self.read(minute);
    }

    /// Takes the posts of this minute, or what becomes of it instead.
    fn read(&mut self, minute: i64) {
        let number = minute - self.window.from.0.div_euclid(MINUTE_MS);
        let is = |wanted: u32| i64::from(wanted) == number;
        let completion = self.line.state.config().recovery_end;
        let stops = match &self.fault {
            Some(JobFault::Unprocessed { minute }) => is(*minute),
            Some(_) => false,
            None => completion == Completion::Failed && minute == self.last_minute(),
        };
        if stops {
            return self.complete(Some(minute));
        }
        let whole = TimeRange::new(UnixMillis(minute * MINUTE_MS), UnixMillis((minute + 1) * MINUTE_MS));
        let mut posts = self.line.state.log.span(whole.intersection(self.window));
        let link = &self.line.slot.link;
        posts.retain(|entry| entry.post().is_some_and(|post| link.wants(post.datacenter)));
        let fails = match &self.fault {
            Some(JobFault::MinutesFailed(minutes)) => minutes.iter().any(|minute| is(*minute)),
            Some(_) => false,
            None => completion == Completion::CompletedWithErrors && self.failed.is_empty() && !posts.is_empty(),
        };
        if fails {
            self.failed.push(minute);
            self.line.state.count(|counters| counters.recovery_minutes_failed += 1);
            return;
        }
        if let Some(JobFault::Dies { minute, how }) = self.fault
            && is(minute)
        {
            posts.truncate(posts.len() / 2 + usize::from(how.waits()));
            self.dies = Some(how);
        }
        self.batch = posts.into();
    }

    fn send(&mut self, entry: &LogEntry) {
        let Some(post) = entry.post() else { return };
        let json = self.line.state.replayed(post);
        if let Some(how) = self.dies.filter(|how| how.waits() && self.batch.is_empty()) {
            self.line.cut_in(&json, entry, how);
            self.line.state.count(|counters| counters.recovery_died += 1);
            return;
        }
        if self.line.is_cut_in(&json, entry) {
            return;
        }
        self.line.post(entry, &json, false);
        self.sent += 1;
        self.line.state.count(|counters| counters.recovery_posts += 1);
    }

    /// Dies where there is no post to die in.
    fn abort(&mut self, how: CutKind) {
        self.line.slot.link.end(StreamEnd::from(how));
        self.line.state.count(|counters| {
            how.count(counters, 1);
            counters.recovery_died += 1;
        });
    }

    fn last_minute(&self) -> i64 {
        (self.window.to.0 - 1).div_euclid(MINUTE_MS)
    }

    /// All is sent; `unprocessed`: but for this minute and what follows.
    fn complete(&mut self, unprocessed: Option<i64>) {
        let time = |minute: i64| offset_time(UnixMillis(minute * MINUTE_MS));
        let sent = offset_time(self.line.state.now());
        let silent = match &self.fault {
            Some(fault) => *fault == JobFault::Silent,
            None => self.line.state.config().recovery_end == Completion::Silent,
        };
        let info = match unprocessed {
            _ if silent => None,
            Some(minute) => Some(json!({
                "message": "Recovery Request Failed to Complete",
                "sent": sent,
                "unprocessed_range": {
                    "fromDate": time(minute),
                    "toDate": offset_time(self.window.to),
                },
                "activity_count": self.sent,
            })),
            None if !self.failed.is_empty() => Some(json!({
                "message": "Recovery Request Completed with Errors",
                "sent": sent,
                "activity_count": self.sent,
                "minutes_failed": self.failed.iter().map(|minute| time(*minute)).collect::<Vec<_>>(),
            })),
            None => Some(json!({"message": "Recovery Request Completed", "sent": sent, "activity_count": self.sent})),
        };
        self.line.finish(info.map(|info| json!({"info": info}).to_string()).as_deref().map(str::as_bytes));
        self.line.state.count(|counters| {
            counters.recovery_jobs_ended += 1;
            counters.recovery_silent += u64::from(silent);
            counters.recovery_unprocessed += u64::from(unprocessed.is_some());
        });
    }
}

/// As X writes times in its messages: `2016-05-27T22:15:50+00:00`.
fn offset_time(time: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
