use bytes::Bytes;

use super::super::planner::MINUTE;
use super::*;
use crate::model::PostId;
use crate::upstream::UpstreamMessage;

const START: i64 = 1_750_000_020_000;
const COMPLETED: &str = r#"{"info":{"message":"Recovery Request Completed"}}"#;

fn minute(number: i64) -> UnixMillis {
    UnixMillis(START / 60_000 * 60_000 + number * 60_000)
}

fn minutes(from: i64, to: i64) -> TimeRange {
    TimeRange::new(minute(from), minute(to))
}

fn message(text: &str) -> UpstreamMessage {
    match text.starts_with('{') {
        true => UpstreamMessage::classify(Bytes::copy_from_slice(text.as_bytes())),
        false => UpstreamMessage::classify_text(text.as_bytes(), text.len() as u64),
    }
}

/// Ends a request for 30 minutes with a post in each of these minutes, followed by these messages.
fn answer(posts: &[i64], texts: &[&str]) -> AttemptEnd {
    let mut transcript = Transcript::new(minutes(0, 30));
    for number in posts {
        let id = PostId::lowest_at(minute(*number).plus(MINUTE / 2));
        transcript.record(&message(&format!(r#"{{"id_str":"{id}"}}"#)));
    }
    for text in texts {
        transcript.record(&message(text));
    }
    let reached = transcript.proven_to(&TimeRangeSet::default(), |_| true);
    let request = minutes(0, 30);
    AttemptEnd { request, transcript, reached, new: 3, clean: true, plausible: true, confirms: None, counts_left: 3 }
}

fn ended(posts: &[i64], texts: &[&str], change: impl FnOnce(&mut AttemptEnd)) -> AttemptResult {
    let mut ended = answer(posts, texts);
    change(&mut ended);
    evaluate(&ended)
}

fn rest(spans: &[TimeRange], evidence: GapEvidence) -> AttemptResult {
    complete_except(spans.iter().copied().collect(), evidence)
}

fn again(from: i64, flaw: IncompleteReason) -> AttemptResult {
    AttemptResult::Again { from: minute(from), flaw }
}

fn info(fields: &str) -> String {
    format!(r#"{{"info":{{"message":"Recovery Request {fields}}}}}"#)
}

fn time(number: i64) -> String {
    minute(number).to_string()
}

#[test]
fn completion_message_proves_all_but_failures() {
    let completed = |text: &str| ended(&[5, 7], &[text], |_| ());
    let all = rest(&[], GapEvidence::CompletionMessage);
    assert_eq!(completed(COMPLETED), all);
    assert_eq!(ended(&[7], &[COMPLETED], |ended| ended.clean = false), all, "interrupted after the message");
    assert_eq!(ended(&[29, 2, 3], &[COMPLETED], |_| ()), all, "in any order");
    let failed = |minutes: &str| completed(&info(&format!(r#"Completed with Errors","minutes_failed":[{minutes}]"#)));
    let named = format!(r#""{}","{}","{}""#, time(3), UnixMillis(minute(9).0 + 5_000), time(99));
    assert_eq!(failed(&named), rest(&[minutes(3, 4), minutes(9, 10)], GapEvidence::CompletionMessage));
    let nothing_named = again(0, IncompleteReason::LeftOut);
    assert_eq!((failed(""), failed(&format!(r#""{}""#, time(99)))), (nothing_named.clone(), nothing_named));
    let range = |from: Option<i64>, to: Option<i64>| {
        let end = |key: &str, at: Option<i64>| at.map(|at| format!(r#""{key}":"{}""#, time(at)));
        let ends: Vec<_> = [end("fromDate", from), end("toDate", to)].into_iter().flatten().collect();
        completed(&info(&format!(r#"Failed to Complete","unprocessed_range":{{{}}}"#, ends.join(","))))
    };
    let from_12 = rest(&[minutes(12, 30)], GapEvidence::CompletionMessage);
    assert_eq!((range(Some(12), Some(90)), range(Some(12), None)), (from_12.clone(), from_12));
    assert_eq!(range(None, Some(2)), rest(&[minutes(0, 2)], GapEvidence::CompletionMessage));
    assert_eq!(range(None, None), again(6, IncompleteReason::LeftOut));
    assert_eq!(range(Some(40), Some(50)), again(6, IncompleteReason::LeftOut));
}

#[test]
fn foreign_messages_discredit_answers_without_completion() {
    let foreign = [
        r#"{"status":"FAILED","reason":"backend"}"#,
        "<html><head><title>Back soon</title></head></html>",
        r#"{"info":{"message":"Recovery Request Aborted"}}"#,
        r#"{"limit":{"track":12}}"#,
    ];
    for text in foreign {
        for posts in [&[][..], &[5, 7]] {
            let confirming = |ended: &mut AttemptEnd| (ended.confirms, ended.new) = (Some(0), 0);
            let reached = if posts.is_empty() { 0 } else { 6 };
            assert_eq!(ended(posts, &[text], confirming), again(reached, IncompleteReason::Foreign), "{text}");
            let completed = rest(&[], GapEvidence::CompletionMessage);
            assert_eq!(ended(posts, &[text, COMPLETED], confirming), completed, "X may add kinds of messages: {text}");
        }
    }
    let errors = [
        r#"{"error":{"message":"Something went wrong on our side","sent":"2026-01-01T00:00:00+00:00"}}"#,
        r#"{"title":"Service Unavailable","detail":"Service Unavailable","type":"about:blank","status":503}"#,
        r#"{"errors":[{"title":"operational-disconnect","disconnect_type":"OperationalDisconnect"}]}"#,
        r#"{"disconnect":{"code":4,"reason":"stall"}}"#,
    ];
    for text in errors {
        for texts in [&[text][..], &[text, COMPLETED], &[COMPLETED, text]] {
            let confirming = |ended: &mut AttemptEnd| (ended.confirms, ended.new) = (Some(0), 0);
            assert_eq!(ended(&[5, 7], texts, confirming), again(6, IncompleteReason::Error), "{texts:?}");
        }
    }
}

#[test]
fn count_above_arrivals_is_repeated_then_reported() {
    let count = |count: u64| info(&format!(r#"Completed","activity_count":{count}"#));
    let with = |sent: u64, left: u32| ended(&[5, 7, 9], &[&count(sent)], |ended| ended.counts_left = left);
    assert_eq!(with(3, 3), rest(&[], GapEvidence::CompletionMessage));
    assert_eq!(with(2, 3), rest(&[], GapEvidence::CompletionMessage), "more posts than X counted are no loss");
    assert_eq!(with(4, 3), again(0, IncompleteReason::Count));
    assert_eq!(with(4, 1), again(0, IncompleteReason::Count));
    assert_eq!(with(4, 0), rest(&[], GapEvidence::CountMismatch));
}

#[test]
fn clean_end_is_confirmed_by_second_without_news() {
    let first = |posts: &[i64]| ended(posts, &[], |_| ());
    assert_eq!(
        (first(&[5, 7]), first(&[])),
        (AttemptResult::Confirm { from: minute(6) }, AttemptResult::Confirm { from: minute(0) })
    );
    let second =
        |posts: &[i64], new, before| ended(posts, &[], |ended| (ended.confirms, ended.new) = (Some(before), new));
    assert_eq!(second(&[5, 7], 0, 2), rest(&[], GapEvidence::CleanEof));
    assert_eq!(second(&[], 0, 0), rest(&[], GapEvidence::NothingDue));
    assert_eq!(second(&[5, 7], 1, 2), AttemptResult::Confirm { from: minute(6) }, "the second request found new posts");
    assert_eq!(second(&[], 0, 2), AttemptResult::Confirm { from: minute(0) }, "only the first request found posts");
}

#[test]
fn clean_end_proves_nothing_if_implausible_or_disordered() {
    let confirming = |ended: &mut AttemptEnd| (ended.confirms, ended.new) = (Some(0), 0);
    let implausible = |ended: &mut AttemptEnd| {
        confirming(ended);
        ended.plausible = false;
    };
    assert_eq!(ended(&[], &[], implausible), again(0, IncompleteReason::Implausible));
    assert_eq!(ended(&[5, 7], &[], implausible), again(6, IncompleteReason::Implausible));
    for posts in [&[29, 2, 3][..], &[2, 3, 44], &[5, 6, 7, 3]] {
        assert_eq!(ended(posts, &[], confirming), again(0, IncompleteReason::Disordered), "{posts:?}");
    }
}

#[test]
fn cut_answer_continues_after_proven_minutes() {
    let cut = |posts: &[i64]| ended(posts, &[], |ended| (ended.clean, ended.confirms, ended.new) = (false, Some(0), 0));
    assert_eq!(cut(&[5, 7]), again(6, IncompleteReason::Cut));
    assert_eq!(cut(&[0]), again(0, IncompleteReason::Cut), "never before the start");
    assert_eq!(
        (cut(&[]), cut(&[29, 2, 3]), cut(&[44, 2])),
        (again(0, IncompleteReason::Cut), again(0, IncompleteReason::Cut), again(0, IncompleteReason::Cut))
    );
}
