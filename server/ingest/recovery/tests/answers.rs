//! Answers with 200 that are no complete recovery, whatever their HTTP end.

use super::*;

/// X answers so often like this, then as it should.
async fn recovered_after(count: usize, message: &'static str) -> (World, UnixMillis) {
    let clock = fast();
    let start = start(&clock);
    let world = World::new(clock, move |number, _| match number {
        number if number < count => Answer::Send(Vec::new(), say(message)),
        _ => Answer::Send(posts(start, 0..30), say(COMPLETED)),
    });
    world.wanted.miss(minutes(start, 0, 30));
    assert_eq!(
        world.heard(1).await,
        [Heard::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)],
        "{message}"
    );
    assert_eq!(world.x.windows(), vec![minutes(start, 0, 30); count + 1], "{message}");
    (world, start)
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
        let (world, _) = recovered_after(3, answer).await;
        let job = job(&world);
        assert_eq!((job.attempts, job.recovered), (4, 30), "{answer}");
        assert!(job.last_error.contains(error), "{answer}: {}", job.last_error);
        let asked = world.x.asked.borrow().clone();
        let waits = asked.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs()).collect::<Vec<_>>();
        assert!(waits.is_sorted() && waits[0] >= 5 && waits[2] >= 20, "the backoff grows: {waits:?}");
    }
}

#[tokio::test]
async fn empty_answers_are_believed_only_if_nothing_was_due() {
    let clock = fast();
    let start = start(&clock);
    let world = World::new(clock.clone(), move |number, _| match number {
        0..=3 => Answer::Send(Vec::new(), Then::End),
        _ => Answer::Send(posts(start, 0..30), say(COMPLETED)),
    });
    world.wanted.due_per_minute(1);
    world.wanted.miss(minutes(start, 0, 30));
    assert_eq!(world.heard(1).await, [Heard::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)]);
    assert_eq!((world.x.windows().len(), job(&world).recovered), (5, 30));

    let quiet = World::new(clock, |_, _| Answer::Send(Vec::new(), Then::End));
    quiet.wanted.miss(minutes(start, 0, 30));
    assert_eq!(quiet.heard(1).await, [Heard::Proven(minutes(start, 0, 30), GapEvidence::NothingDue)]);
    assert_eq!(quiet.x.windows().len(), 2);
}

#[tokio::test]
async fn excessive_count_is_repeated_three_times() {
    let clock = fast();
    let start = start(&clock);
    let world = World::new(clock, move |_, _| {
        let message = r#"{"info":{"message":"Recovery Request Completed","activity_count":31}}"#;
        Answer::Send(posts(start, 0..30), say(message))
    });
    world.wanted.miss(minutes(start, 0, 30));
    assert_eq!(world.heard(1).await, [Heard::Proven(minutes(start, 0, 30), GapEvidence::CountMismatch)]);
    assert_eq!(world.x.windows(), vec![minutes(start, 0, 30); 4]);
    assert!(job(&world).last_error.contains("31 posts as sent, 30 arrived"), "{}", job(&world).last_error);
}

#[tokio::test]
async fn stray_post_before_cut_proves_no_minutes() {
    for stray in [29, 31, 500] {
        let clock = fast();
        let start = start(&clock);
        let world = World::new(clock, move |number, _| match number {
            0 => Answer::Send([posts(start, stray..stray + 1), posts(start, 0..3)].concat(), Then::Cut),
            1 => Answer::Send(posts(start, stray..stray + 1), Then::Cut),
            _ => Answer::Send(posts(start, 0..30), say(COMPLETED)),
        });
        world.wanted.due_per_minute(1);
        world.wanted.miss(minutes(start, 0, 30));
        assert_eq!(world.heard(1).await, [Heard::Proven(minutes(start, 0, 30), GapEvidence::CompletionMessage)]);
        assert_eq!(world.x.windows(), vec![minutes(start, 0, 30); 3], "{stray}");
    }
}

#[tokio::test]
async fn unproven_interval_is_lost_when_it_expires() {
    let clock = fast();
    // Ten minutes before X forgets it.
    let start = minute_before_expiry(&clock);
    let world = World::new(clock, move |_, _| Answer::Send(Vec::new(), say("<html>")));
    let span = minutes(start, 0, 5);
    world.wanted.miss(span);
    let heard = world.heard(1).await;
    let lost: Spans = heard
        .iter()
        .map(|heard| match heard {
            Heard::Lost(span, GapEvidence::Unproven) => *span,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(lost.first().is_some_and(|first| first.from == span.from), "{lost:?}");
}
