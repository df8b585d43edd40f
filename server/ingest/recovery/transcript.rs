//! The messages received in one recovery request, as far as they matter for what the request proves. Pure.

use std::collections::BTreeSet;

use super::planner::{MINUTE, minute_of};
use crate::model::{TimeRange, TimeRangeSet, UnixMillis};
use crate::upstream::UpstreamMessage;
use crate::upstream::message::{ControlMessage, RecoveryResult, UpstreamPost};

/// Record of the messages of one recovery request.
///
/// X sends recovered posts minute by minute. A post therefore proves the minutes before its own, except the last of
/// them: posts may arrive out of order by up to one minute. Posts that contradict this order withdraw what the order
/// proved.
#[derive(Clone, Debug)]
pub(super) struct Transcript {
    request: TimeRange,
    /// Minutes of the request with posts: at most those of the longest window.
    minutes: BTreeSet<UnixMillis>,
    /// Creation time of the newest post, including one just outside of the request.
    newest: Option<UnixMillis>,
    is_disordered: bool,
    arrived: u64,
    inside: u64,
    word: Option<RecoveryResult>,
    count: Option<u64>,
    error: Option<String>,
    foreign: u64,
}

/// Fill level of X's buffer for this reader, in percent, from which on a warning announces the end of the stream.
const FULL_PERCENT_MIN: u8 = 90;

impl Transcript {
    /// Creates the record of a request for whole minutes, without messages.
    pub(super) fn new(request: TimeRange) -> Self {
        Self {
            request,
            minutes: BTreeSet::new(),
            newest: None,
            is_disordered: false,
            arrived: 0,
            inside: 0,
            word: None,
            count: None,
            error: None,
            foreign: 0,
        }
    }

    /// Records a message. Returns true if it changes what the order of posts proves.
    pub(super) fn record(&mut self, message: &UpstreamMessage) -> bool {
        match message {
            UpstreamMessage::Post(post) => return self.record_post(post),
            UpstreamMessage::Control(control) => self.record_control(control),
            // Announced as skipped; X counted it.
            UpstreamMessage::Oversized { .. } => self.arrived += 1,
            UpstreamMessage::Foreign { kind, .. } if kind.is_post() => self.arrived += 1,
            UpstreamMessage::Foreign { .. } => {}
            UpstreamMessage::Unknown { .. } | UpstreamMessage::Malformed { .. } => self.foreign += 1,
        }
        false
    }

    fn record_post(&mut self, post: &UpstreamPost) -> bool {
        self.arrived += 1;
        let Some(created) = post.id.created_at() else { return false };
        // X may round the bounds of a window outward to whole minutes.
        let tolerated = TimeRange::new(self.request.from.minus(MINUTE), self.request.to.plus(MINUTE));
        let is_late = self.newest.is_some_and(|newest| created.plus(MINUTE) < newest);
        let was_disordered = self.is_disordered;
        self.is_disordered |= is_late || !tolerated.contains(created);
        self.newest = self.newest.max(Some(created));
        let mut is_new_minute = false;
        if self.request.contains(created) {
            self.inside += 1;
            is_new_minute = self.minutes.insert(minute_of(created));
        }
        is_new_minute || self.is_disordered != was_disordered
    }

    fn record_control(&mut self, control: &ControlMessage) {
        match control {
            ControlMessage::Info { info: RecoveryResult::Other, .. } => self.foreign += 1,
            ControlMessage::Info { info, activity_count } => {
                // A failure reported by X is not withdrawn by a later message.
                if self.word.is_none() || *info != RecoveryResult::Completed {
                    self.word = Some(info.clone());
                }
                self.count = self.count.max(*activity_count);
            }
            ControlMessage::Fault { detail, .. } => {
                self.error.get_or_insert_with(|| detail.clone());
            }
            ControlMessage::Warning { percent_full, .. } => {
                self.foreign += u64::from(percent_full.is_some_and(|full| full >= FULL_PERCENT_MIN));
            }
            // Matching posts that X withheld.
            ControlMessage::Limit { .. } => self.foreign += 1,
            ControlMessage::ConnectionMetadata { .. } => {}
        }
    }

    /// Returns the end of the longest prefix of minutes that the order of the posts proves; the start of the request if
    /// there is none. Empty minutes count only if `is_plausibly_empty` accepts the part of each run of them within
    /// `core`: the demanded range without the time whose posts may have arrived live.
    pub(super) fn proven_to(&self, core: &TimeRangeSet, is_plausibly_empty: impl Fn(TimeRange) -> bool) -> UnixMillis {
        if self.is_disordered {
            return self.request.from;
        }
        let (mut reached, mut newest) = (self.request.from, self.request.from);
        for minute in &self.minutes {
            let empty = core.within(TimeRange::new(reached, *minute));
            if !empty.iter().all(&is_plausibly_empty) {
                break;
            }
            (reached, newest) = (minute.plus(MINUTE), *minute);
        }
        newest.minus(MINUTE).max(self.request.from)
    }

    /// True if the received posts may be all posts of the request. Without posts: if an empty response is plausible for
    /// the whole demand. Otherwise: unless posts were expected after the newest one, both at the account's rate and at
    /// the rate of the received posts.
    pub(super) fn is_plausible(
        &self,
        demanded: &TimeRangeSet,
        core: &TimeRangeSet,
        due_min: u32,
        is_plausibly_empty: impl Fn(TimeRange) -> bool,
    ) -> bool {
        if self.inside == 0 {
            return demanded.within(self.request).iter().all(is_plausibly_empty);
        }
        let tail = core.within(self.tail());
        let due: f64 = tail.iter().map(|tail| self.due(tail)).sum();
        due < f64::from(due_min) || tail.iter().all(is_plausibly_empty)
    }

    /// Returns the end of the request, after its last post.
    fn tail(&self) -> TimeRange {
        let newest = self.minutes.last().map_or(self.request.from, |minute| minute.plus(MINUTE));
        let newest = self.newest.map_or(newest, |created| newest.min(created.max(self.request.from)));
        TimeRange::new(newest, self.request.to)
    }

    /// Returns the number of posts expected in a span at the rate of this request's posts. Infinite if all of them are
    /// of the first instant of the request: these have no rate, and only the rate of the account decides.
    fn due(&self, span: TimeRange) -> f64 {
        let seconds = self.tail().from.since(self.request.from).as_secs_f64();
        if seconds > 0.0 {
            self.inside as f64 / seconds * span.to.since(span.from).as_secs_f64()
        } else {
            f64::INFINITY
        }
    }

    /// True if posts arrived out of order by more than one minute, or from outside of the request.
    pub(super) fn is_disordered(&self) -> bool {
        self.is_disordered
    }

    /// Returns the number of received posts, created at any time.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Returns the number of posts created within the request.
    pub(super) fn inside(&self) -> u64 {
        self.inside
    }

    /// Returns X's report about the whole recovery.
    pub(super) fn word(&self) -> Option<&RecoveryResult> {
        self.word.as_ref()
    }

    /// Returns the number of posts that X claims to have sent.
    pub(super) fn count(&self) -> Option<u64> {
        self.count
    }

    /// Returns the text of the first error object.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Returns the number of messages that do not belong to a recovery: malformed, unknown, a web page.
    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PostId;
    use bytes::Bytes;

    const START: UnixMillis = UnixMillis(1_750_000_020_000 / 60_000 * 60_000);

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis(START.0 + seconds * 1_000)
    }

    fn post(seconds: i64) -> UpstreamMessage {
        let id = PostId::lowest_at(at(seconds));
        UpstreamMessage::Post(UpstreamPost { id, rules: Vec::new(), rules_missing: false, json: Bytes::new() })
    }

    fn transcript(seconds: &[i64]) -> Transcript {
        let mut transcript = Transcript::new(TimeRange::new(at(0), at(1_800)));
        for seconds in seconds {
            transcript.record(&post(*seconds));
        }
        transcript
    }

    fn proven_minutes(seconds: &[i64], due_per_minute: f64) -> i64 {
        let is_plausible = |span: TimeRange| span.to.since(span.from).as_secs_f64() / 60.0 * due_per_minute < 3.0;
        let core = [TimeRange::new(at(0), at(1_800))].into_iter().collect();
        (transcript(seconds).proven_to(&core, is_plausible).0 - START.0) / 60_000
    }

    #[test]
    fn order_proves_minutes_before_newest() {
        let cases: &[(&[i64], f64, i64)] = &[
            (&[], 0.0, 0),
            (&[30], 9.0, 0),
            (&[30, 90, 150, 210], 9.0, 2),
            // Out of order by up to a minute.
            (&[30, 150, 91, 210, 200], 9.0, 2),
            // A post of the last minute first: nothing is known of the minutes before it, in which posts were expected.
            (&[1_790], 9.0, 0),
            (&[30, 90, 1_790], 9.0, 0),
            (&[30, 90, 150, 1_790], 9.0, 1),
            // On a quiet account, all of them may be empty.
            (&[1_790], 0.05, 28),
            (&[1_790], 0.2, 0),
            // A run of empty minutes in the middle.
            (&[30, 90, 150, 400, 470], 0.5, 6),
            (&[30, 90, 150, 400, 470], 2.0, 1),
        ];
        for (seconds, due, minutes) in cases {
            assert_eq!(proven_minutes(seconds, *due), *minutes, "{seconds:?}");
        }
    }

    #[test]
    fn contradicted_order_proves_nothing() {
        for seconds in [
            &[1_790, 10, 20, 30][..],
            &[30, 90, 150, 89],
            &[30, 90, 150, 210, 270, 80, 330, 390],
            // Outside of the window, before and after it: also as the only posts.
            &[30, 90, 150, 1_860],
            &[-61, 30, 90, 150],
            &[30, 90, 150, 7_200, 210],
        ] {
            assert_eq!(proven_minutes(seconds, 0.0), 0, "{seconds:?}");
            assert!(transcript(seconds).is_disordered(), "{seconds:?}");
        }
        // Just outside: neither.
        assert_eq!(proven_minutes(&[30, 90, 150, 1_850], 0.0), 1);
        assert!(transcript(&[1_850, 30]).is_disordered());
    }

    #[test]
    fn tail_begins_at_newest_post_within_request() {
        assert_eq!(transcript(&[]).tail(), TimeRange::new(at(0), at(1_800)));
        assert_eq!(transcript(&[30, 90]).tail(), TimeRange::new(at(90), at(1_800)));
        assert_eq!(transcript(&[-30]).tail(), TimeRange::new(at(0), at(1_800)));
        assert!(transcript(&[30, 1_799, 1_830]).tail().to.since(transcript(&[30, 1_799, 1_830]).tail().from) <= MINUTE);
        let due = transcript(&[30, 60, 90, 120]).due(TimeRange::new(at(120), at(180)));
        assert!((due - 2.0).abs() < 0.01, "{due}");
    }

    #[test]
    fn minutes_outside_of_core_may_be_empty() {
        let core = [TimeRange::new(at(170), at(1_800))].into_iter().collect();
        let proven = |seconds| transcript(seconds).proven_to(&core, |empty| empty.to.since(empty.from) < MINUTE);
        assert_eq!((proven(&[190, 250, 310]), proven(&[250, 310])), (at(240), at(0)));
    }

    #[test]
    fn empty_tail_is_implausible_if_posts_were_due() {
        let core: TimeRangeSet = [TimeRange::new(at(0), at(1_770))].into_iter().collect();
        let plausible = |seconds: &[i64], due_per_minute: f64| {
            let empty = |span: TimeRange| span.to.since(span.from).as_secs_f64() / 60.0 * due_per_minute < 3.0;
            transcript(seconds).is_plausible(&core, &core, 3, empty)
        };
        let every = |seconds: i64, until: i64| (0..until / seconds).map(|n| n * seconds + 5).collect::<Vec<_>>();
        assert_eq!((plausible(&[], 0.1), plausible(&[], 0.2)), (true, false));
        assert!(plausible(&every(10, 1_770), 6.0), "up to the edge");
        assert!(!plausible(&every(10, 600), 6.0), "X stopped after ten minutes");
        assert!(plausible(&every(300, 1_500), 6.0), "the received posts show a lower rate than the account's");
        assert!(plausible(&every(10, 600), 0.1), "one burst of a quiet account");
        assert_eq!(
            (plausible(&[0], 6.0), plausible(&[0], 0.05)),
            (false, true),
            "a post of the first instant has no rate"
        );
    }

    #[test]
    fn messages_are_classified() {
        let after = |texts: &[&'static str]| {
            let mut transcript = transcript(&[30]);
            for text in texts {
                let message = match text.starts_with('{') {
                    true => UpstreamMessage::classify(Bytes::from_static(text.as_bytes())),
                    false => UpstreamMessage::classify_text(text.as_bytes(), text.len() as u64),
                };
                transcript.record(&message);
            }
            transcript
        };
        let flawed = [
            r#"{"status":"FAILED","reason":"backend"}"#,
            "<html>",
            r#"{"info":{"message":"Recovery aborted"}}"#,
            r#"{"limit":{"track":7}}"#,
            r#"{"warning":{"message":"behind","percent_full":96}}"#,
        ];
        for text in flawed {
            assert_eq!((after(&[text]).foreign(), after(&[text]).error()), (1, None), "{text}");
        }
        let errors = [
            r#"{"error":{"message":"broken"}}"#,
            r#"{"errors":[{"title":"operational-disconnect","detail":"broken"}]}"#,
            r#"{"title":"Service Unavailable","detail":"broken","type":"about:blank","status":503}"#,
            "This stream has been disconnected for operational reasons.",
        ];
        for text in errors {
            assert!(after(&[text]).error().is_some(), "{text}");
        }
        for text in [r#"{"type":"connection_metadata"}"#, r#"{"warning":{"message":"behind","percent_full":30}}"#] {
            assert_eq!((after(&[text]).foreign(), after(&[text]).error()), (0, None), "{text}");
        }
        let completed = r#"{"info":{"message":"Recovery Request Completed","activity_count":7}}"#;
        let failed = r#"{"info":{"message":"Recovery Request Failed to Complete","activity_count":3}}"#;
        assert_eq!(
            (after(&[completed]).word(), after(&[completed]).count()),
            (Some(&RecoveryResult::Completed), Some(7))
        );
        let withheld = RecoveryResult::FailedToComplete { from: None, to: None };
        assert_eq!(after(&[failed, completed]).word(), Some(&withheld), "a failure is not withdrawn");
        assert_eq!(after(&[completed, failed]).word(), Some(&withheld));
    }
}
