//! Responses with 200 that are no complete recovery, for any HTTP end.

use super::*;

/// X sends this response `count` times, then a complete one.
async fn recovered_after(count: usize, message: &'static str) -> (TestEnv, UnixMillis) {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |number, _| match number {
        number if number < count => Answer::Send(Vec::new(), reply(message)),
        _ => Answer::Send(posts(start, 0..30), reply(COMPLETED)),
    });
    env.wanted.miss(minutes(start, 0, 30));
    assert_eq!(
        env.reports(1).await,
        [Report::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)],
        "{message}"
    );
    assert_eq!(env.x.windows(), vec![minutes(start, 0, 30); count + 1], "{message}");
    (env, start)
}

#[tokio::test]
async fn foreign_answer_is_failed_attempt() {
    let answers = [
        (r#"{"error":{"message":"Something went wrong on our side"}}"#, "went wrong"),
        (r#"{"title":"Service Unavailable","detail":"Unavailable","type":"about:blank","status":503}"#, "Unavailable"),
        ("<html><head><title>Back soon</title></head><body>Maintenance</body></html>", "malformed or unknown"),
        (r#"{"status":"FAILED","reason":"backend"}"#, "malformed or unknown"),
    ];
    for (answer, error) in answers {
        let (env, _) = recovered_after(3, answer).await;
        let job = job(&env);
        assert_eq!((job.attempts, job.recovered), (4, 30), "{answer}");
        assert!(job.last_error.contains(error), "{answer}: {}", job.last_error);
        let asked = env.x.asked.borrow().clone();
        let waits = asked.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect::<Vec<_>>();
        assert!(waits.iter().zip([5, 10, 20]).all(|(wait, least)| *wait >= least), "the backoff grows: {waits:?}");
    }
}

#[tokio::test]
async fn empty_answer_proves_only_quiet_range() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock.clone(), move |number, _| match number {
        0..=3 => Answer::Send(Vec::new(), Then::End),
        _ => Answer::Send(posts(start, 0..30), reply(COMPLETED)),
    });
    env.wanted.due_per_minute(1);
    env.wanted.miss(minutes(start, 0, 30));
    assert_eq!(env.reports(1).await, [Report::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)]);
    assert_eq!((env.x.windows().len(), job(&env).recovered), (5, 30));

    let quiet = TestEnv::new(clock, |_, _| Answer::Send(Vec::new(), Then::End));
    quiet.wanted.miss(minutes(start, 0, 30));
    assert_eq!(quiet.reports(1).await, [Report::Proven(minutes(start, 0, 30), GapEvidence::NothingDue)]);
    assert_eq!(quiet.x.windows().len(), 2);
}

#[tokio::test]
async fn excessive_count_is_repeated_three_times() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock, move |_, _| {
        let message = r#"{"info":{"message":"Recovery Request Completed","activity_count":31}}"#;
        Answer::Send(posts(start, 0..30), reply(message))
    });
    env.wanted.miss(minutes(start, 0, 30));
    assert_eq!(env.reports(1).await, [Report::Proven(minutes(start, 0, 30), GapEvidence::CountMismatch)]);
    assert_eq!(env.x.windows(), vec![minutes(start, 0, 30); 4]);
    assert!(job(&env).last_error.contains("31 posts as sent, 30 arrived"), "{}", job(&env).last_error);
}

#[tokio::test]
async fn stray_post_before_cut_proves_no_minutes() {
    for stray in [29, 31, 500] {
        let clock = fast();
        let start = start(&clock);
        let env = TestEnv::new(clock, move |number, _| match number {
            0 => Answer::Send([posts(start, stray..stray + 1), posts(start, 0..3)].concat(), Then::Cut),
            1 => Answer::Send(posts(start, stray..stray + 1), Then::Cut),
            _ => Answer::Send(posts(start, 0..30), reply(COMPLETED)),
        });
        env.wanted.due_per_minute(1);
        env.wanted.miss(minutes(start, 0, 30));
        assert_eq!(env.reports(1).await, [Report::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)]);
        assert_eq!(env.x.windows(), vec![minutes(start, 0, 30); 3], "{stray}");
    }
}

#[tokio::test]
async fn unproven_interval_is_lost_when_it_expires() {
    let clock = fast();
    // Ten minutes before it leaves the recovery window.
    let start = minute_before_expiry(&clock);
    let env = TestEnv::new(clock, move |_, _| Answer::Send(Vec::new(), reply("<html>")));
    let span = minutes(start, 0, 5);
    env.wanted.miss(span);
    let reports = env.reports(1).await;
    let lost: TimeRangeSet = reports
        .iter()
        .map(|reports| match reports {
            Report::Lost(span, GapEvidence::Unproven) => *span,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(lost.first().is_some_and(|first| first.from == span.from), "{lost:?}");
}

/// For any response that leaves the whole range to be requested again, no hour exceeds the limit, and the job
/// continues. Also for responses that contain every post and a failure.
#[tokio::test]
async fn vain_attempts_are_bounded_per_hour() {
    const PER_HOUR_MAX: u32 = 6;
    let unnamed = r#"{"info":{"message":"Recovery Request Completed with Errors","minutes_failed":[]}}"#;
    let unnamed_range = r#"{"info":{"message":"Recovery Request Failed to Complete","unprocessed_range":{}}}"#;
    let ordered = 0..30;
    let answers: [(Vec<u32>, &str); 6] = [
        (vec![], "<html>"),
        (vec![0], r#"{"error":{"message":"try again"}}"#),
        (ordered.clone().collect(), unnamed),
        (ordered.clone().collect(), "all of it failed"),
        (vec![0], unnamed_range),
        (ordered.rev().collect(), ""),
    ];
    let attempts = answers.map(|(numbers, word)| async move {
        let clock = Clock::with_rate(4_000.0, None);
        let start = start(&clock);
        let named: Vec<String> = (0..30).map(|minute| format!("\"{}\"", start.plus(MINUTE * minute))).collect();
        let word = match word {
            "all of it failed" => unnamed.replace("[]", &format!("[{}]", named.join(","))),
            word => word.to_owned(),
        };
        let config =
            Config { vain_attempts_per_hour_max: PER_HOUR_MAX, overlap_max: Duration::ZERO, ..Config::default() };
        let env = TestEnv::configured(clock, JobsState::default(), config, {
            let word = word.clone();
            move |_, _| {
                let then = if word.is_empty() { Then::End } else { reply(word.clone()) };
                Answer::Send(posts(start, numbers.iter().copied()), then)
            }
        });
        env.wanted.due_per_minute(1);
        env.wanted.miss(minutes(start, 0, 30));
        // The first attempt may deliver posts.
        let asked: Vec<_> = env.asked(11).await.iter().skip(1).map(|asked| asked.at).collect();
        let within = |from| asked.iter().filter(|at| **at >= from && at.since(from) < MINUTE * 60).count();
        let most = asked.iter().map(|from| within(*from)).max().unwrap_or(0);
        assert!(most <= PER_HOUR_MAX as usize, "{most} attempts in an hour: {word} {asked:?}");
        assert!(env.wanted.reports.borrow().is_empty(), "nothing is proven: {word}");
    });
    futures::future::join_all(attempts).await;
}
