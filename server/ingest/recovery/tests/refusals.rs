//! A refusal is not an end.

use super::*;

#[tokio::test]
async fn refused_window_is_requested_until_granted() {
    for (status, body) in [(403, ""), (400, ""), (406, "no"), (404, "")] {
        let clock = fast();
        let start = start(&clock);
        let env = TestEnv::new(clock, move |number, _| match number {
            0..=5 => Answer::Refuse(status, body),
            _ => Answer::Send(posts(start, 0..30), reply(COMPLETED)),
        });
        let span = minutes(start, 0, 30);
        env.wanted.miss(span);
        env.job("it is refused", |job| job.is_refused() && job.refusals >= 2).await;
        assert!(env.recovery_jobs.refused().covers(span));
        assert_eq!(env.reports(1).await, [Report::Proven(span, GapEvidence::CompletionMessage)], "{status}");
        let asked = env.asked(7).await;
        let waits = asked.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect::<Vec<_>>();
        assert!(
            waits.iter().zip([5, 10, 20, 40, 80, 160]).all(|(wait, least)| *wait >= least),
            "the backoff grows: {waits:?}"
        );
        assert!(env.recovery_jobs.refused().is_empty() && job(&env).last_error.contains(&status.to_string()));
    }
}

#[tokio::test]
async fn refused_window_does_not_block_others() {
    let clock = fast();
    let start = start(&clock);
    let (refused, good) = (minutes(start, 0, 30), minutes(start, 60, 70));
    let env = TestEnv::new(clock, move |_, window| {
        if window == refused { Answer::Refuse(403, "") } else { Answer::Send(Vec::new(), reply(COMPLETED)) }
    });
    env.wanted.miss(refused);
    env.asked(2).await;
    env.wanted.miss(good);
    assert_eq!(env.reports(1).await, [Report::Proven(good, GapEvidence::CompletionMessage)]);
    assert!(env.recovery_jobs.refused().covers(refused) && !env.recovery_jobs.refused().covers(good));
}

#[tokio::test]
async fn refused_window_is_lost_when_it_expires() {
    let clock = fast();
    let start = minute_before_expiry(&clock);
    let env = TestEnv::new(clock, move |_, _| Answer::Refuse(403, ""));
    env.wanted.miss(minutes(start, 0, 5));
    match env.reports(1).await[0] {
        Report::Lost(span, GapEvidence::Refused) => assert_eq!(span.from, start),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn young_window_is_requested_when_older() {
    let clock = fast();
    let (now, text) = (clock.now(), "Can't ask for tweets from within the past 30 minutes.");
    let x = clock.clone();
    let env = TestEnv::new(clock, move |_, window| match x.now().since(window.to) < MINUTE * 30 {
        true => Answer::Refuse(406, text),
        false => Answer::Send(Vec::new(), reply(COMPLETED)),
    });
    let young = |from: u32, to: u32| TimeRange::new(now.minus(MINUTE * from), now.minus(MINUTE * to));
    env.wanted.miss(young(20, 10));
    assert_eq!(env.reports(1).await, [Report::Proven(young(20, 10), GapEvidence::CompletionMessage)]);
    assert_eq!(env.x.windows().len(), 2, "X named the minimum age");
    env.wanted.miss(young(8, 1));
    assert_eq!(env.reports(2).await[1], Report::Proven(young(8, 1), GapEvidence::CompletionMessage));
    assert_eq!(env.x.windows().len(), 3, "the minimum age is known");
}

#[tokio::test]
async fn disabled_recovery_gives_up_missing_ranges() {
    let clock = fast();
    let start = start(&clock);
    let env = TestEnv::new(clock.clone(), move |_, _| Answer::Send(posts(start, 0..8), Then::Stay));
    env.wanted.miss(minutes(start, 0, 30));
    env.progress(start.plus(MINUTE * 6)).await;
    let state = env.stop().await;
    let config = Config { enabled: false, ..Config::default() };
    let again = TestEnv::configured(clock, state, config, |_, _| panic!("no request is made"));
    again.wanted.miss(minutes(start, 0, 30));
    let reports = again.reports(1).await;
    assert_eq!(reports.last(), Some(&Report::Lost(minutes(start, 0, 30), GapEvidence::Refused)), "{reports:?}");
    assert!(again.recovery_jobs.list().iter().all(|listed| !listed.job.state.is_active()));
}
