//! A refusal is not an end.

use super::*;

#[tokio::test]
async fn refused_window_is_requested_until_granted() {
    for (status, body) in [(403, ""), (400, ""), (406, "no"), (404, "")] {
        let clock = fast();
        let start = start(&clock);
        let world = World::new(clock, move |number, _| match number {
            0..=5 => Answer::Refuse(status, body),
            _ => Answer::Send(posts(start, 0..30), say(COMPLETED)),
        });
        let span = minutes(start, 0, 30);
        world.wanted.miss(span);
        world.job("it is refused", |job| job.is_refused() && job.refusals >= 2).await;
        assert!(world.desk.refused().covers(span));
        assert_eq!(world.heard(1).await, [Heard::Proven(span, GapEvidence::CompletionMessage)], "{status}");
        let asked = world.asked(7).await;
        let waits = asked.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect::<Vec<_>>();
        assert!(waits.is_sorted() && waits[5] >= 160, "the backoff grows: {waits:?}");
        assert!(world.desk.refused().is_empty() && job(&world).last_error.contains(&status.to_string()));
    }
}

#[tokio::test]
async fn refused_window_does_not_block_others() {
    let clock = fast();
    let start = start(&clock);
    let (refused, good) = (minutes(start, 0, 30), minutes(start, 60, 70));
    let world = World::new(clock, move |_, window| {
        if window == refused { Answer::Refuse(403, "") } else { Answer::Send(Vec::new(), say(COMPLETED)) }
    });
    world.wanted.miss(refused);
    world.asked(2).await;
    world.wanted.miss(good);
    assert_eq!(world.heard(1).await, [Heard::Proven(good, GapEvidence::CompletionMessage)]);
    assert!(world.desk.refused().covers(refused) && !world.desk.refused().covers(good));
}

#[tokio::test]
async fn refused_window_is_lost_when_it_expires() {
    let clock = fast();
    let start = minute_before_expiry(&clock);
    let world = World::new(clock, move |_, _| Answer::Refuse(403, ""));
    world.wanted.miss(minutes(start, 0, 5));
    match world.heard(1).await[0] {
        Heard::Lost(span, GapEvidence::Refused) => assert_eq!(span.from, start),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn young_window_is_requested_when_older() {
    let clock = fast();
    let (now, text) = (clock.now(), "Can't ask for tweets from within the past 30 minutes.");
    let x = clock.clone();
    let world = World::new(clock, move |_, window| match x.now().since(window.to) < MINUTE * 30 {
        true => Answer::Refuse(406, text),
        false => Answer::Send(Vec::new(), say(COMPLETED)),
    });
    let young = |from: u32, to: u32| Span::new(now.minus(MINUTE * from), now.minus(MINUTE * to));
    world.wanted.miss(young(20, 10));
    assert_eq!(world.heard(1).await, [Heard::Proven(young(20, 10), GapEvidence::CompletionMessage)]);
    assert_eq!(world.x.windows().len(), 2, "X said when to come again");
    world.wanted.miss(young(8, 1));
    assert_eq!(world.heard(2).await[1], Heard::Proven(young(8, 1), GapEvidence::CompletionMessage));
    assert_eq!(world.x.windows().len(), 3, "known by then");
}

#[tokio::test]
async fn disabled_recovery_loses_what_is_missing() {
    let clock = fast();
    let start = start(&clock);
    let world = World::new(clock.clone(), move |_, _| Answer::Send(posts(start, 0..8), Then::Stay));
    world.wanted.miss(minutes(start, 0, 30));
    world.progress(start.plus(MINUTE * 6)).await;
    let state = world.stop().await;
    let config = Config { enabled: false, ..Config::default() };
    let again = World::configured(clock, state, config, |_, _| panic!("nothing is asked for"));
    again.wanted.miss(minutes(start, 0, 30));
    let heard = again.heard(1).await;
    assert_eq!(heard.last(), Some(&Heard::Lost(minutes(start, 0, 30), GapEvidence::Refused)), "{heard:?}");
    assert!(again.desk.list().iter().all(|listed| !listed.job.state.is_active()));
}
