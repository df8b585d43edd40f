use std::collections::BTreeMap;
use std::time::Duration;

use super::disconnect::DisconnectCause;
use super::message::{ControlMessage, NEARLY_FULL_PERCENT, StreamErrorKind, UpstreamMessage};
use crate::clock::Moment;

/// Announcements of X on a connection that explain its end.
///
/// A later announcement does not replace an earlier one: of all that arrived shortly before the end, the most severe
/// counts. A slow-reader announcement counts however old it is, because X sends no backfill after it (contract 6.3).
#[derive(Clone, Debug, Default)]
pub(super) struct EndEvidence {
    /// Last announcement of each fault, with its text.
    faults: BTreeMap<StreamErrorKind, (Moment, String)>,
    /// Last warning that X's buffer is nearly full, with its text.
    nearly_full: Option<(Moment, String)>,
}

impl EndEvidence {
    /// Records a message.
    pub(super) fn note(&mut self, message: &UpstreamMessage, now: Moment) {
        match message {
            UpstreamMessage::Control(ControlMessage::Fault { fault, detail }) => {
                self.faults.insert(*fault, (now, detail.clone()));
            }
            UpstreamMessage::Control(ControlMessage::Warning {
                percent_full: Some(percent @ NEARLY_FULL_PERCENT..),
                detail,
            }) => {
                self.nearly_full = Some((now, format!("{detail} ({percent} % full)")));
            }
            _ => {}
        }
    }

    /// Returns the announced cause of a disconnect at `now`. Announcements older than `valid_for` do not count: GNIP's
    /// errors did not always end the stream (demian85/gnip#32).
    pub(super) fn cause(&self, now: Moment, valid_for: Duration) -> Option<DisconnectCause> {
        let recent = |at: Moment| now.since(at) <= valid_for;
        let sent = self.faults.iter().filter(|(fault, (at, _))| **fault == StreamErrorKind::FullBuffer || recent(*at));
        let nearly_full = self.nearly_full.as_ref().filter(|(at, _)| recent(*at)).map(|_| StreamErrorKind::FullBuffer);
        sent.map(|(fault, _)| *fault).chain(nearly_full).max().and_then(DisconnectCause::of_fault)
    }

    /// Returns X's text for that cause, or for an unknown fault; empty if X sent none.
    pub(super) fn words(&self, now: Moment, valid_for: Duration) -> &str {
        let recent =
            |fault: &StreamErrorKind, at: Moment| *fault == StreamErrorKind::FullBuffer || now.since(at) <= valid_for;
        let sent = self.faults.iter().filter(|(fault, (at, _))| recent(fault, *at));
        let nearly_full = self.nearly_full.iter().filter(|(at, _)| now.since(*at) <= valid_for);
        // At equal severity the text of the fault wins over that of the buffer warning, which is first in the chain.
        let weighed = nearly_full.map(|(_, words)| (StreamErrorKind::FullBuffer, words));
        let weighed = weighed.chain(sent.map(|(fault, (_, words))| (*fault, words)));
        let heaviest = weighed.filter(|(_, words)| !words.is_empty()).max_by_key(|(fault, _)| *fault);
        heaviest.map(|(_, words)| words.as_str()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const VALID_FOR: Duration = Duration::from_secs(40);
    const SLOW: &str =
        r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"SlowReader","detail":"slow"}]}"#;
    const OPERATIONAL: &str =
        r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"OperationalDisconnect"}]}"#;
    const OTHER: &str = r#"{"error":{"message":"Internal error, please reconnect"}}"#;
    const FULL: &str = r#"{"warning":{"code":"FALLING_BEHIND","message":"behind","percent_full":95}}"#;
    const CAPPED: &str = r#"{"title":"CreditsDepleted","status":402}"#;

    fn at(seconds: u64) -> Moment {
        Moment::default().plus(Duration::from_secs(seconds))
    }

    fn check(messages: &[(u64, &str)], expected: Option<DisconnectCause>) {
        let mut evidence = EndEvidence::default();
        for (second, text) in messages {
            evidence.note(&UpstreamMessage::classify(Bytes::copy_from_slice(text.as_bytes())), at(*second));
        }
        assert_eq!(evidence.cause(at(1_000), VALID_FOR), expected, "{messages:?}");
    }

    /// A slow-reader announcement is not hidden by a later message (R2-A, rule 1.9).
    #[test]
    fn slow_reader_evidence_outlasts_later_messages() {
        for later in
            [OTHER, OPERATIONAL, r#"{"disconnect":{"code":1}}"#, r#"{"error":{"message":"Too many connections"}}"#]
        {
            check(&[(990, SLOW), (999, later)], Some(DisconnectCause::SlowReader));
            check(&[(990, later), (999, SLOW)], Some(DisconnectCause::SlowReader));
            check(&[(10, SLOW), (999, later)], Some(DisconnectCause::SlowReader));
            check(&[(970, FULL), (999, later)], Some(DisconnectCause::SlowReader));
        }
        check(&[(970, FULL)], Some(DisconnectCause::SlowReader));
        check(&[(10, FULL)], None);
        check(&[(990, r#"{"warning":{"message":"behind","percent_full":89}}"#)], None);
        check(
            &[(990, r#"{"warning":{"message":"Your queue is now over 90% full."}}"#)],
            Some(DisconnectCause::SlowReader),
        );
        check(&[(990, r#"{"warn":{"message":"behind","percent_full":"100"}}"#)], Some(DisconnectCause::SlowReader));
    }

    #[test]
    fn weightiest_recent_fault_is_cause() {
        check(&[], None);
        check(&[(999, OTHER)], None);
        check(&[(990, OPERATIONAL), (999, OTHER)], Some(DisconnectCause::Operational));
        check(&[(10, OPERATIONAL), (999, OTHER)], None);
        check(&[(990, SLOW), (991, CAPPED), (992, OPERATIONAL)], Some(DisconnectCause::UsageCapped));
        check(&[(990, SLOW), (10, CAPPED)], Some(DisconnectCause::SlowReader));
    }

    /// An announced fault becomes the cause, and its text is kept.
    #[test]
    fn rejected_rules_and_full_buffer_keep_their_words() {
        let check = |messages: &[&str], expected: Option<DisconnectCause>, words: &str| {
            let mut evidence = EndEvidence::default();
            for text in messages {
                evidence.note(&UpstreamMessage::classify(Bytes::copy_from_slice(text.as_bytes())), at(990));
            }
            assert_eq!(evidence.cause(at(1_000), VALID_FOR), expected, "{messages:?}");
            assert_eq!(evidence.words(at(1_000), VALID_FOR), words, "{messages:?}");
        };
        for invalid in [
            r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"InvalidRules","detail":"rule 3"}]}"#,
            r#"{"errors":[{"title":"InvalidRules","detail":"rule 3"}]}"#,
            r#"{"title":"Invalid Rule","detail":"rule 3","type":"about:blank"}"#,
            r#"{"title":"Bad","detail":"rule 3","type":"https://api.x.com/2/problems/invalid-rules"}"#,
        ] {
            check(&[invalid], Some(DisconnectCause::InvalidRules), "rule 3");
            check(&[invalid, SLOW], Some(DisconnectCause::SlowReader), "slow");
        }
        check(&[FULL], Some(DisconnectCause::SlowReader), "behind (95 % full)");
        check(&[FULL, SLOW], Some(DisconnectCause::SlowReader), "slow");
        check(&[OTHER, FULL], Some(DisconnectCause::SlowReader), "behind (95 % full)");
    }
}
