use proptest::prelude::*;

use super::*;

const LIMITS: RequestLimits = RequestLimits { requests_max: 50, reserve: 10 };
const TIME: UnixMillis = UnixMillis(1_700_000_000_000);

fn at(seconds: u64) -> (RunningTime, UnixMillis) {
    let running = Duration::from_secs(seconds);
    (RunningTime::default().plus(running), TIME.plus(running))
}

fn ask(budget: &mut RuleBudget, access: BudgetAccess, seconds: u64) -> Result<(), BudgetExhausted> {
    budget.charge(Method::Get, access, &LIMITS, at(seconds))?;
    budget.finish(at(seconds).0, None, None);
    Ok(())
}

#[test]
fn reserve_is_for_emergencies() {
    let mut budget = RuleBudget::default();
    for n in 0..40 {
        ask(&mut budget, BudgetAccess::Ordinary, n).expect("40 are ordinary");
    }
    let refused = ask(&mut budget, BudgetAccess::Ordinary, 100).expect_err("the reserve stays");
    assert_eq!(refused.retry_after, WINDOW + MARGIN - Duration::from_secs(100));
    for n in 0..10 {
        ask(&mut budget, BudgetAccess::Reserve, 100 + n).expect("10 are reserved");
    }
    ask(&mut budget, BudgetAccess::Reserve, 200).expect_err("50 in all");
    let status = budget.status(&LIMITS);
    assert_eq!((status.used, status.available, status.resets.len()), (50, 0, 50));
    let day = 24 * 3_600 + 5;
    ask(&mut budget, BudgetAccess::Reserve, day - 1).expect_err("the first is 24 h and 4 s old");
    ask(&mut budget, BudgetAccess::Reserve, day).expect("one has expired");
    ask(&mut budget, BudgetAccess::Reserve, day).expect_err("one only");
}

#[test]
fn count_of_x_only_lowers() {
    let mut budget = RuleBudget::default();
    let hour = Duration::from_secs(3_600);
    budget.charge(Method::Get, BudgetAccess::Ordinary, &LIMITS, at(0)).expect("the first");
    budget.finish(at(0).0, Some(449), Some(hour));
    assert_eq!(budget.available(BudgetAccess::Ordinary, &LIMITS), 39);
    budget.charge(Method::Get, BudgetAccess::Ordinary, &LIMITS, at(1)).expect("the second");
    budget.finish(at(1).0, Some(12), Some(hour));
    assert_eq!(budget.available(BudgetAccess::Ordinary, &LIMITS), 2);
    ask(&mut budget, BudgetAccess::Ordinary, 2).expect("11 remain");
    ask(&mut budget, BudgetAccess::Ordinary, 3).expect("10 remain");
    let refused = ask(&mut budget, BudgetAccess::Ordinary, 4).expect_err("others used it");
    assert_eq!(refused.retry_after, hour - Duration::from_secs(3));
    ask(&mut budget, BudgetAccess::Ordinary, 3_601).expect("X's window has ended");
}

#[test]
fn refused_request_blocks_until_reset() {
    for (reset_in, expected) in [
        (Some(Duration::from_secs(900)), 900),
        (None, 3_600),
        (Some(Duration::ZERO), 3_600),
        (Some(Duration::from_secs(1 << 40)), 24 * 3_600 + 5),
    ] {
        let mut budget = RuleBudget::default();
        budget.charge(Method::Post, BudgetAccess::Ordinary, &LIMITS, at(0)).expect("the first");
        budget.finish(at(0).0, None, None);
        budget.block(at(0).0, reset_in);
        let refused = ask(&mut budget, BudgetAccess::Reserve, 0).expect_err("blocked");
        assert_eq!(refused.retry_after, Duration::from_secs(expected), "{reset_in:?}");
        ask(&mut budget, BudgetAccess::Ordinary, expected - 1).expect_err("blocked");
        ask(&mut budget, BudgetAccess::Ordinary, expected).expect("one attempt");
    }
}

#[test]
fn request_that_was_not_sent_is_free() {
    let mut budget = RuleBudget::default();
    budget.charge(Method::Get, BudgetAccess::Ordinary, &LIMITS, at(0)).expect("the first");
    budget.refund();
    assert_eq!(budget.status(&LIMITS).used, 0);
    ask(&mut budget, BudgetAccess::Ordinary, 0).expect("charged");
    budget.refund();
    assert_eq!(budget.status(&LIMITS).used, 1, "it was answered");
}

/// What happens to a gateway.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes while it runs.
    Run(u64),
    /// A request, its duration, and whether it is answered; then X's headers.
    Ask { duration: u64, headers: Option<(u64, u64)>, reserve: bool, connects: bool },
    /// It is killed during a request, before or after the write, or after the request left.
    Kill { written: bool, left: bool },
    /// It is stopped for so long and started again.
    Restart(u64),
    /// The wall clock is set.
    Step(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let ask = (0..90_u64, prop::option::of((0..60_u64, 0..200_000_u64)), any::<bool>(), prop::bool::weighted(0.9));
    prop_oneof![
        3 => (0..40_000_u64).prop_map(Event::Run),
        20 => ask.prop_map(|(duration, headers, reserve, connects)| {
            Event::Ask { duration, headers, reserve, connects }
        }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(written, left)| Event::Kill { written, left: left && written }),
        1 => (0..200_000_u64).prop_map(Event::Restart),
        1 => (-500_000..500_000_i64).prop_map(Event::Step),
    ]
}

/// A gateway, its file, and what X has received.
#[derive(Default)]
struct World {
    budget: RuleBudget,
    file: Vec<u8>,
    /// True time in seconds.
    now: u64,
    /// True time at which this process started, and the running time then.
    started: (u64, RunningTime),
    wall_shift: i64,
    received: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        world.persist();
        world
    }

    fn persist(&mut self) {
        self.file = serde_json::to_vec(&self.budget).expect("written");
    }

    fn time(&self) -> (RunningTime, UnixMillis) {
        let running = self.started.1.plus(Duration::from_secs(self.now - self.started.0));
        (running, TIME.shifted((self.now as i64 + self.wall_shift) * 1_000))
    }

    fn start(&mut self) {
        self.budget = serde_json::from_slice(&self.file).expect("our own file");
        self.budget.restart();
        self.started = (self.now, self.budget.persisted_at());
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Run(seconds) => self.now += seconds,
            Event::Step(seconds) => self.wall_shift += seconds,
            Event::Restart(seconds) => {
                self.now += seconds;
                self.start();
            }
            Event::Ask { duration, headers, reserve, connects } => {
                let access = if reserve { BudgetAccess::Reserve } else { BudgetAccess::Ordinary };
                if self.budget.charge(Method::Get, access, &LIMITS, self.time()).is_err() {
                    return;
                }
                self.persist();
                if !connects {
                    self.budget.refund();
                    return self.persist();
                }
                // X receives it at any time until the answer.
                self.received.push(self.now + duration / 2);
                self.now += duration;
                let (remaining, reset_in) = headers.unzip();
                self.budget.finish(self.time().0, remaining, reset_in.map(Duration::from_secs));
                self.persist();
            }
            Event::Kill { written, left } => {
                if self.budget.charge(Method::Post, BudgetAccess::Reserve, &LIMITS, self.time()).is_ok() {
                    if written {
                        self.persist();
                    }
                    if left {
                        self.received.push(self.now);
                    }
                }
                self.start();
            }
        }
    }
}

proptest! {
    #[test]
    fn no_history_has_too_many_requests(events in prop::collection::vec(event(), 1..400)) {
        let mut world = World::new();
        for event in &events {
            world.apply(event);
        }
        for (n, from) in world.received.iter().enumerate() {
            let window = world.received[n..].iter().take_while(|time| **time < from + 24 * 3_600);
            prop_assert!(window.count() <= 50);
        }
    }

    /// The wait that is reported is enough, and a second less is not.
    #[test]
    fn wait_is_exact(events in prop::collection::vec(event(), 1..200)) {
        let mut world = World::new();
        for event in &events {
            world.apply(event);
        }
        let (now, time) = world.time();
        world.budget.advance(now);
        let wait = world.budget.wait(BudgetAccess::Ordinary, &LIMITS);
        let after = |passed: Duration| {
            let mut budget = world.budget.clone();
            budget.charge(Method::Get, BudgetAccess::Ordinary, &LIMITS, (now.plus(passed), time)).is_ok()
        };
        prop_assert!(after(wait));
        prop_assert!(wait < Duration::from_secs(1) || !after(wait - Duration::from_secs(1)));
    }
}
