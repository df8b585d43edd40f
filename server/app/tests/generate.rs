//! Makes a plan from a seed. What the oracle cannot expect is left out here (`docs/testing.md` lists it).

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::plan::{Answer, Date, End, Extra, Job, Live, LogOutcome, Order, Plan, Setup, Start, Step, Word};
use super::truth::{MINUTE, Ms, SECOND, Traffic, Want};

/// How far the clock of a host is ahead.
const HOSTS_AHEAD: &[Ms] = &[0, 0, 0, 1_500, -1_500];
/// The same of a host whose clock is wrong.
const FAR_AHEAD: &[Ms] = &[45 * SECOND, -45 * SECOND, 180 * MINUTE, -180 * MINUTE];

/// Leaderships are renewed in one history of so many.
const RENEWED_EVERY: u64 = 8;

/// Parts of histories, to find out on which of them a failure depends.
struct Switches {
    /// One `Date` that is wrong by less than a minute.
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
    /// Other programs fill the disk.
    full_disk: bool,
    /// Leaderships end and begin without a kill.
    renewed: bool,
}

impl Switches {
    /// All are on, except the switches that `HISTORY_WITHOUT` names, with commas in between.
    fn new() -> Self {
        let off = std::env::var("HISTORY_WITHOUT").unwrap_or_default();
        let is_on = |name: &str| !off.split(',').any(|it| it == name);
        Self {
            small_wrong_dates: is_on("small_wrong_dates"),
            large_wrong_dates: is_on("large_wrong_dates"),
            long_lag: is_on("long_lag"),
            unreadable: is_on("unreadable"),
            wrong_host: is_on("wrong_host"),
            redundant: is_on("redundant"),
            no_backfill: is_on("no_backfill"),
            short_window: is_on("short_window"),
            full_disk: is_on("full_disk"),
            renewed: is_on("renewed"),
        }
    }
}

/// A history of this seed.
pub(super) fn plan(seed: u64) -> Plan {
    let switches = &Switches::new();
    let mut rng = StdRng::seed_from_u64(seed);
    // What was added later is drawn from streams of its own, so that seeds keep what they had.
    let more = &mut StdRng::seed_from_u64(seed ^ 0x6d6f_7265);
    let times = &mut StdRng::seed_from_u64(seed ^ 0x7469_6d65);
    let mut setup = setup(&mut rng, more, switches);
    let mut lives: Vec<Live> = (0..rng.random_range(0..8)).map(|_| live(&mut rng, more, switches)).collect();
    let jobs: Vec<Job> = (0..rng.random_range(0..8)).map(|_| job(&mut rng)).collect();
    let mut steps = vec![Step::Subscribe(want(&mut rng), Start::Latest)];
    steps.extend((0..rng.random_range(2..16)).map(|_| step(&mut rng, &setup, switches)));
    if switches.small_wrong_dates {
        make_dates_wrong(&mut lives, times);
    }
    let_wrong_dates_differ(&mut lives);
    // Where the host is far from X, only the dates of answers show it. Until the first one, subscriptions have the time of
    // the host.
    if switches.wrong_host && make_hosts_wrong(&mut setup, &mut steps, times) {
        lives.iter_mut().for_each(|live| (live.date, live.answer) = (Date::Right, Answer::Stream));
    }
    begin_now(&mut steps, &mut StdRng::seed_from_u64(seed ^ 0x6e_6f77));
    let mut plan = Plan { seed, setup, steps, lives, jobs };
    let rng = |salt: u64| StdRng::seed_from_u64(seed ^ salt);
    limit_requests(&mut plan, &mut rng(0x6c_696d));
    refuse_recoveries(&mut plan.jobs, &mut rng(0x72_6566));
    look_back(&mut plan.steps, &mut rng(0x62_6163));
    if switches.full_disk && plan.setup.files {
        fill_disk(&mut plan.steps, &mut rng(0x66_756c));
    }
    if switches.renewed && seed % RENEWED_EVERY == RENEWED_EVERY / 2 + 1 {
        renew(&mut plan.steps, &mut rng(0x7265_6e65));
    }
    plan
}

/// The same history with a connection to each of two datacenters.
pub(super) fn plan_of_datacenters(seed: u64) -> Plan {
    let plan = plan(seed);
    Plan { setup: Setup { connections: 2, datacenters: true, ..plan.setup }, ..plan }
}

/// Hosts of X are off by less than the grain of a `Date`, each its own way, and some gateways ask for short windows.
fn limit_requests(plan: &mut Plan, rng: &mut StdRng) {
    const EDGES: &[Ms] = &[0, 400, -400];
    plan.setup.request_max = pick(rng, &[120, 120, 10, 3]) * MINUTE;
    plan.lives.iter_mut().for_each(|live| live.edge = pick(rng, EDGES));
    plan.jobs.iter_mut().for_each(|job| job.edge = pick(rng, EDGES));
}

/// In some histories X refuses several recoveries in a row, and grants them later.
fn refuse_recoveries(jobs: &mut Vec<Job>, rng: &mut StdRng) {
    if rng.random_bool(0.06) {
        let refused = Job { answer: Answer::Refuse(pick(rng, &[400, 403]), true), ..Job::good() };
        jobs.splice(0..0, std::iter::repeat_n(refused, rng.random_range(3..7)));
    }
}

/// Some subscriptions begin at a time before the last start of the gateway.
fn look_back(steps: &mut Vec<Step>, rng: &mut StdRng) {
    let kills = steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Kill { .. })).map(|(at, _)| at);
    let Some(at) = kills.collect::<Vec<_>>().choose(rng).copied().filter(|_| rng.random_bool(0.3)) else { return };
    let back = Step::Subscribe(want(rng), Start::Back(rng.random_range(0..25 * MINUTE)));
    steps.splice(at + 1..at + 1, [Step::Pass(rng.random_range(SECOND..90 * SECOND)), back]);
}

/// In some histories other programs fill the disk for a while.
fn fill_disk(steps: &mut Vec<Step>, rng: &mut StdRng) {
    if rng.random_bool(0.1) {
        let at = rng.random_range(1..=steps.len());
        steps.insert(at, Step::Full(rng.random_range(5 * SECOND..3 * MINUTE)));
    }
}

/// Some leaderships end, and others begin.
fn renew(steps: &mut Vec<Step>, rng: &mut StdRng) {
    let before = std::mem::take(steps);
    for step in before {
        steps.push(step);
        if rng.random_bool(0.08) {
            steps.push(Step::Renew);
        }
    }
}

/// Some subscriptions begin at the present time.
fn begin_now(steps: &mut [Step], rng: &mut StdRng) {
    for step in steps {
        if let Step::Subscribe(_, Start::Back(back)) = step
            && rng.random_bool(0.3)
        {
            *back = 0;
        }
    }
}

/// Some dates are wrong by less than a minute.
fn make_dates_wrong(lives: &mut [Live], times: &mut StdRng) {
    for live in lives.iter_mut().filter(|live| live.date == Date::Right) {
        if times.random_bool(0.07) {
            live.date = Date::Ahead(pick(times, &[20, 50, -20, -50]) * SECOND);
        }
    }
}

/// The clocks of some hosts are far from X's. Returns true if one is.
fn make_hosts_wrong(setup: &mut Setup, steps: &mut [Step], times: &mut StdRng) -> bool {
    let later = steps.iter_mut().filter_map(|step| match step {
        Step::Kill { host_ahead, .. } => host_ahead.as_mut(),
        _ => None,
    });
    let mut is_far = false;
    for ahead in std::iter::once(&mut setup.host_ahead).chain(later) {
        if times.random_bool(0.1) {
            *ahead = pick(times, FAR_AHEAD);
            is_far = true;
        }
    }
    is_far
}

/// Two wrong dates in a row that agree are believed: the second one is right instead.
fn let_wrong_dates_differ(lives: &mut [Live]) {
    /// Grain and transit of two answers.
    const AGREES_WITHIN: Ms = 4 * SECOND;
    let mut before = None;
    for live in lives.iter_mut().filter(|live| matches!(live.answer, Answer::Stream | Answer::Page)) {
        match live.date {
            Date::Absent => {}
            Date::Ahead(by) if before.is_none_or(|before: Ms| (before - by).abs() > AGREES_WITHIN) => before = Some(by),
            Date::Right | Date::Ahead(_) => (live.date, before) = (Date::Right, None),
        }
    }
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
        host_ahead: pick(rng, HOSTS_AHEAD),
        retention: pick(rng, &[24 * 60 * MINUTE, 24 * 60 * MINUTE, 10 * MINUTE]),
        ring_bytes: pick(rng, &[8 << 10, 1 << 20]),
        maintenance_interval: SECOND,
        recovery_window: if switches.short_window && more.random_bool(0.2) { 30 * MINUTE } else { 24 * 60 * MINUTE },
        datacenters: false,
        connections: if switches.redundant && more.random_bool(0.15) { 2 } else { 1 },
        session_age: pick(rng, &[0, 0, 0, 4 * MINUTE]),
        request_max: 120 * MINUTE,
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
        edge: 0,
        order: pick(rng, &[Order::ByTime, Order::WithinMinutes, Order::Any]),
        pace: pick(rng, &[0, 0, 20]),
        twice: pick(rng, &[0, 0, 3]),
        extras,
        end: rng.random_bool(0.6).then(|| (rng.random_range(0..ends_after), end(rng))),
    }
}

fn date(rng: &mut StdRng, more: &mut StdRng, switches: &Switches) -> Date {
    match rng.random_range(0..20) {
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
        edge: 0,
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

fn step(rng: &mut StdRng, setup: &Setup, switches: &Switches) -> Step {
    match rng.random_range(0..17) {
        0..=4 => Step::Pass(rng.random_range(SECOND..3 * MINUTE)),
        5 => Step::Pass(rng.random_range(MINUTE..12 * MINUTE)),
        6 | 7 => Step::Cut(end(rng)),
        8 => {
            let end = if rng.random() { Some(end(rng)) } else { None };
            Step::Freeze(rng.random_range(SECOND..4 * MINUTE), end)
        }
        9 => {
            let log = pick(rng, &[LogOutcome::Kept, LogOutcome::Kept, LogOutcome::LoseTail, LogOutcome::Lost]);
            let host_ahead = rng.random_bool(0.2).then(|| pick(rng, HOSTS_AHEAD));
            let longest = pick(rng, &[8, 8, 8, 45]) * MINUTE;
            Step::Kill { down: rng.random_range(SECOND..longest), log, host_ahead }
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
