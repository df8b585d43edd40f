use super::*;

#[tokio::test]
async fn fast_clock_drives_timers_and_wall_time() {
    let origin = UnixMillis(system_now_us() / 1_000 - 1_000);
    let clock = Clock::with_rate(1_000.0, Some(origin));
    assert!(clock.now().since(origin) >= Duration::from_secs(1_000));
    let (wall, before) = (clock.now(), clock.moment());
    clock.sleep(Duration::from_secs(20)).await;
    assert!(clock.moment().since(before) >= Duration::from_secs(20));
    assert!(clock.now().since(wall) >= Duration::from_secs(20));
    assert_eq!(clock.timeout(Duration::from_secs(5), std::future::pending::<()>()).await, Err(Elapsed));
}

/// Observes a response whose upstream time is this far ahead of the host's.
fn answer(clock: &Clock, ahead_ms: i64) -> Correction {
    let at = clock.moment();
    clock.observe(UnixMillis(clock.uncorrected(at).0 + ahead_ms), at)
}

#[test]
fn corrections_follow_table() {
    const HOUR: i64 = 3_600_000;
    // Measurements of successive responses in ms, and the offset after each.
    let table: &[(&str, &[(i64, i64)])] = &[
        ("within grain and transit", &[(1_900, 0), (-2_000, 0)]),
        ("small and wrong once", &[(100, 0), (20_000, 0), (100, 0), (-50_000, 0), (100, 0)]),
        ("small and confirmed", &[(20_000, 0), (19_500, 19_500), (20_500, 19_500)]),
        ("one wrong answer", &[(100, 0), (25 * HOUR, 0), (100, 0), (25 * HOUR, 0)]),
        ("confirmed by the next", &[(25 * HOUR, 0), (25 * HOUR + 900, 25 * HOUR + 900)]),
        ("confirmed and reverted", &[(HOUR, 0), (HOUR, HOUR), (0, HOUR), (0, 0)]),
        ("two wrong ones that differ", &[(HOUR, 0), (2 * HOUR, 0), (3 * HOUR, 0), (0, 0)]),
        ("alternating", &[(HOUR, 0), (0, 0), (HOUR, 0), (0, 0), (HOUR, 0), (0, 0)]),
        ("small steps away", &[(5_000, 0), (10_000, 0), (15_000, 0), (20_000, 0)]),
        ("a step, confirmed, and another", &[(5_000, 0), (5_000, 5_000), (10_000, 5_000), (10_000, 10_000)]),
        ("two at once", &[(2 * HOUR, 0), (2 * HOUR, 2 * HOUR), (2 * HOUR, 2 * HOUR)]),
    ];
    for (name, answers) in table {
        let clock = Clock::system();
        for (number, (measured, offset)) in answers.iter().enumerate() {
            answer(&clock, *measured);
            assert_eq!(clock.offset_ms(), *offset, "{name}: answer {number}");
        }
    }
}

#[test]
fn implausible_date_is_ignored() {
    let clock = Clock::system();
    for absurd in [0, -1, 946_684_800_000, 253_402_300_799_000, i64::MAX, i64::MIN] {
        for _ in 0..2 {
            assert_eq!(clock.observe(UnixMillis(absurd), clock.moment()), Correction::Implausible, "{absurd}");
        }
    }
    assert_eq!((clock.offset_ms(), clock.is_confirmed()), (0, false));
}

/// Two connections measure the same difference before either of them corrects the clock (review R8).
#[test]
fn two_answers_at_once_correct_once() {
    let clock = Clock::system();
    let at = clock.moment();
    let x = clock.now().plus(Duration::from_secs(2 * 3_600));
    assert!(matches!(clock.observe(x, at), Correction::Unconfirmed(_)));
    assert!(matches!(clock.observe(x, at), Correction::Applied(_)));
    assert_eq!(clock.observe(x, at), Correction::None);
    assert!(clock.now().since(x) < Duration::from_secs(5) && clock.now() >= x);
}

#[test]
fn account_clock_leaves_other_clocks_alone() {
    let process = Clock::system();
    let (first, second) = (process.for_account(), process.for_account());
    for _ in 0..2 {
        answer(&first, 25 * 3_600_000);
    }
    assert_eq!([process.offset_ms(), first.offset_ms(), second.offset_ms()], [0, 25 * 3_600_000, 0]);
    assert!(first.clone().now() >= second.now().plus(Duration::from_secs(24 * 3_600)));
    assert!(first.moment().since(second.moment()) < Duration::from_secs(5));
}

#[test]
fn uncertainty_counts_what_is_not_corrected() {
    let clock = Clock::system();
    let seconds = Duration::from_secs;
    let at_most = seconds(60);
    let table =
        [(0, Duration::ZERO), (1_500, Duration::from_millis(1_500)), (20_000, seconds(20)), (25 * 3_600_000, at_most)];
    for (ahead, more) in table {
        answer(&clock, ahead);
        assert_eq!(clock.uncertainty(), DATE_RESOLUTION + TRANSIT + more);
    }
}
