//! Makes a plan from a seed. What the oracle cannot expect is left out here, each by a switch with its reason
//! (`docs/testing.md` lists them).

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::plan::{Answer, Date, End, Extra, Fate, Job, Live, Order, Plan, Setup, Start, Step, Word};
use super::truth::{MINUTE, Ms, SECOND, Traffic, Want};

/// What the generator leaves out, or not.
struct Switches {
    /// One `Date` that is wrong by less than the gateway corrects at once.
    small_wrong_dates: bool,
    /// One `Date` that is wrong by hours.
    large_wrong_dates: bool,
    /// A connection whose posts all come later than the allowed lateness.
    long_lag: bool,
    /// The disk cannot read for a while.
    unreadable: bool,
    /// A host whose clock is far from X's, with the right `Date` on each answer.
    wrong_host: bool,
    /// Two redundant connections.
    redundant: bool,
    /// Requests for backfill are passed over where that can be noticed.
    no_backfill: bool,
    /// X recovers less than a history is long.
    short_window: bool,
}

impl Switches {
    /// What is off finds faults that are not settled (`docs/testing.md`): `HISTORY_WITH` names switches to turn on, with
    /// commas in between.
    fn new() -> Self {
        let on = std::env::var("HISTORY_WITH").unwrap_or_default();
        let is_on = |name: &str| on.split(',').any(|it| it == name || it == "all");
        Self {
            small_wrong_dates: is_on("small_wrong_dates"),
            large_wrong_dates: true,
            long_lag: true,
            unreadable: true,
            wrong_host: is_on("wrong_host"),
            redundant: true,
            no_backfill: true,
            short_window: true,
        }
    }
}

/// A history of this seed.
pub(super) fn plan(seed: u64) -> Plan {
    let switches = &Switches::new();
    let mut rng = StdRng::seed_from_u64(seed);
    // What was added later is drawn from a stream of its own, so that seeds keep what they had.
    let more = &mut StdRng::seed_from_u64(seed ^ 0x6d6f_7265);
    let setup = setup(&mut rng, more, switches);
    let mut lives: Vec<Live> = (0..rng.random_range(0..8)).map(|_| live(&mut rng, more, switches)).collect();
    let jobs = (0..rng.random_range(0..8)).map(|_| job(&mut rng)).collect();
    let mut steps = vec![Step::Subscribe(want(&mut rng), Start::Latest)];
    steps.extend((0..rng.random_range(2..16)).map(|_| step(&mut rng, more, &setup, switches)));
    // Where the host is far from X, only the dates of answers tell.
    if is_far(&setup, &steps) {
        lives.iter_mut().for_each(|live| live.date = Date::Right);
        // Until the first answer, subscriptions begin and go on by the time of the host.
        if switches.wrong_host {
            lives.iter_mut().for_each(|live| live.answer = Answer::Stream);
        }
    }
    Plan { seed, setup, steps, lives, jobs }
}

fn is_far(setup: &Setup, steps: &[Step]) -> bool {
    let far = |ahead: Ms| ahead.abs() > 2 * SECOND;
    let later = steps.iter().any(|step| matches!(step, Step::Kill { host_ahead: Some(ahead), .. } if far(*ahead)));
    far(setup.host_ahead) || later
}

/// How far the clock of a host is ahead.
fn host_ahead(rng: &mut StdRng, more: &mut StdRng, switches: &Switches) -> Ms {
    let ahead = pick(rng, &[0, 0, 0, 1_500, -1_500]);
    if switches.wrong_host && more.random_bool(0.2) {
        return pick(more, &[45 * SECOND, -45 * SECOND, 180 * MINUTE, -180 * MINUTE]);
    }
    ahead
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    *from.choose(rng).expect("there is a choice")
}

fn setup(rng: &mut StdRng, more: &mut StdRng, switches: &Switches) -> Setup {
    let traffic = Traffic {
        seed: rng.random(),
        per_hour: pick(rng, &[20, 120, 600, 600, 1_800]),
        late_max: pick(rng, &[0, 2 * SECOND, 24 * SECOND]),
        repeated: pick(rng, &[4, 20]),
    };
    Setup {
        files: rng.random_bool(0.5),
        traffic,
        host_ahead: host_ahead(rng, more, switches),
        retention: pick(rng, &[24 * 60 * MINUTE, 24 * 60 * MINUTE, 10 * MINUTE]),
        ring_bytes: pick(rng, &[8 << 10, 1 << 20]),
        maintenance_interval: SECOND,
        recovery_window: if switches.short_window && more.random_bool(0.2) { 30 * MINUTE } else { 24 * 60 * MINUTE },
        connections: if switches.redundant && more.random_bool(0.15) { 2 } else { 1 },
        session_age: pick(rng, &[0, 0, 0, 4 * MINUTE]),
    }
}

fn want(rng: &mut StdRng) -> Want {
    match rng.random_range(0..7) {
        0 => Want { any: vec!["alpha"], ..Want::default() },
        1 => Want { any: vec!["beta*"], ..Want::default() },
        2 => Want { any: vec!["beta", "gamma"], none: vec!["alpha"], ..Want::default() },
        3 => Want { ids: vec![14], any: vec!["gamma"], ..Want::default() },
        4 => Want { all: vec!["alpha", "gamma"], ..Want::default() },
        _ => Want::default(),
    }
}

fn end(rng: &mut StdRng) -> End {
    pick(rng, &[End::Clean, End::Cut, End::Cut, End::Reset, End::Stall, End::Half, End::SlowReader, End::Operational])
}

fn answer(rng: &mut StdRng) -> Answer {
    match rng.random_range(0..12) {
        0 => Answer::Refuse(pick(rng, &[503, 500, 429, 404]), rng.random()),
        1 => pick(rng, &[Answer::Unreachable, Answer::Silent]),
        2 => Answer::Page,
        _ => Answer::Stream,
    }
}

fn live(rng: &mut StdRng, more: &mut StdRng, switches: &Switches) -> Live {
    let extra = |rng: &mut StdRng| {
        let extra = match rng.random_range(0..6) {
            0 => Extra::CutPost,
            1 => Extra::LongPost,
            2 => Extra::ForeignPost,
            3 => Extra::Garbage,
            4 => Extra::Page,
            _ => Extra::Control(rng.random_range(0..8)),
        };
        (rng.random_range(0..10 * MINUTE), extra)
    };
    let mut extras: Vec<_> = (0..rng.random_range(0..4)).map(|_| extra(rng)).collect();
    extras.sort_unstable_by_key(|(after, _)| *after);
    let ends_after = pick(rng, &[SECOND, 20 * SECOND, 2 * MINUTE, 10 * MINUTE]);
    Live {
        answer: answer(rng),
        date: date(rng, more, switches),
        metadata: rng.random(),
        lag: pick(rng, &[0, 0, 0, 10 * SECOND, 25 * SECOND, if switches.long_lag { 60 * SECOND } else { 0 }]),
        backfill: !switches.no_backfill || more.random_bool(0.7),
        backfill_more: pick(rng, &[0, 0, MINUTE]),
        order: pick(rng, &[Order::ByTime, Order::WithinMinutes, Order::Any]),
        pace: pick(rng, &[0, 0, 20]),
        twice: pick(rng, &[0, 0, 3]),
        extras,
        end: rng.random_bool(0.6).then(|| (rng.random_range(0..ends_after), end(rng))),
    }
}

fn date(rng: &mut StdRng, more: &mut StdRng, switches: &Switches) -> Date {
    match rng.random_range(0..20) {
        0 if switches.small_wrong_dates => Date::Ahead(pick(more, &[20, 50, -20, -50]) * SECOND),
        // No two of them agree: two that do are believed.
        1 if switches.large_wrong_dates => Date::Ahead(more.random_range(-2_000..2_000) * MINUTE),
        2..=5 => Date::Absent,
        _ => Date::Right,
    }
}

fn job(rng: &mut StdRng) -> Job {
    Job {
        answer: if rng.random_bool(0.1) { Answer::Refuse(pick(rng, &[400, 403]), true) } else { answer(rng) },
        order: pick(rng, &[Order::ByTime, Order::WithinMinutes, Order::Any]),
        pace: pick(rng, &[0, 5, 200]),
        delay: pick(rng, &[0, 0, 45 * SECOND]),
        sent: pick(rng, &[0, 20, 50, 90, 100]),
        word: pick(
            rng,
            &[
                Word::Completed,
                Word::Counted,
                Word::CountedLess(3),
                Word::None,
                Word::None,
                Word::WithErrors(3),
                Word::Failed,
                Word::Error,
                Word::Page,
                Word::Garbage,
            ],
        ),
        end: pick(rng, &[End::Clean, End::Clean, End::Cut, End::Half, End::Stall, End::Reset]),
    }
}

fn step(rng: &mut StdRng, more: &mut StdRng, setup: &Setup, switches: &Switches) -> Step {
    match rng.random_range(0..17) {
        0..=4 => Step::Pass(rng.random_range(SECOND..3 * MINUTE)),
        5 => Step::Pass(rng.random_range(MINUTE..12 * MINUTE)),
        6 | 7 => Step::Cut(end(rng)),
        8 => {
            let end = if rng.random() { Some(end(rng)) } else { None };
            Step::Freeze(rng.random_range(SECOND..4 * MINUTE), end)
        }
        9 => {
            let fate = pick(rng, &[Fate::Kept, Fate::Kept, Fate::LoseTail, Fate::Lost]);
            let host_ahead = rng.random_bool(0.2).then(|| host_ahead(rng, more, switches));
            let longest = pick(rng, &[8, 8, 8, 45]) * MINUTE;
            Step::Kill { down: rng.random_range(SECOND..longest), fate, host_ahead }
        }
        10 | 11 => {
            let start = match rng.random_range(0..4) {
                0 => Start::Earliest,
                1 => Start::Back(rng.random_range(0..10 * MINUTE)),
                _ => Start::Latest,
            };
            Step::Subscribe(want(rng), start)
        }
        12 => Step::Leave(rng.random_range(0..4)),
        13 => Step::Resume(rng.random_range(0..4), rng.random_range(0..6)),
        14 if setup.files => Step::Snapshot,
        15 if setup.files && switches.unreadable => Step::Unreadable(rng.random_range(100..30 * SECOND)),
        _ => Step::Pass(rng.random_range(100..20 * SECOND)),
    }
}
