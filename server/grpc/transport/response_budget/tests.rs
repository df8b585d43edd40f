use std::net::{IpAddr, Ipv4Addr};

use super::super::connection_slots::ConnectionSlots;
use super::*;

const KIB: usize = 1 << 10;

struct TestEnv {
    places: Arc<ConnectionSlots>,
    all: Arc<ResponseBudget>,
    slots: Vec<super::super::connection_slots::ConnectionSlotGuard>,
}

impl TestEnv {
    fn new() -> Self {
        let config =
            Config { response_bytes_max: 100 * KIB, connection_response_bytes_max: 40 * KIB, ..Config::default() };
        let places = Arc::new(ConnectionSlots::new(&config, Clock::system()));
        Self { places, all: Arc::new(ResponseBudget::new(&config, Clock::system())), slots: Vec::new() }
    }

    fn connect(&mut self) -> Arc<ClientConnectionInfo> {
        let slot = self.places.enter(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("there is a place");
        let place = slot.place().clone();
        self.slots.push(slot);
        place
    }

    /// An exchange on a connection of its own.
    fn begin(&mut self) -> Arc<Exchange> {
        let place = self.connect();
        Exchange::begin(&self.all, &place)
    }
}

fn is_ended(exchange: &Exchange) -> bool {
    exchange.progress.ended.load(Ordering::Relaxed)
}

#[test]
fn connection_over_budget_is_refused_until_sent() {
    let mut env = TestEnv::new();
    let place = env.connect();
    let first = Exchange::begin(&env.all, &place);
    let mut charge = first.charge(30 * KIB).expect("within");
    let second = Exchange::begin(&env.all, &place);
    assert_eq!(second.charge(20 * KIB).expect_err("over"), ResponseBudgetExceeded);
    charge.sent(15 * KIB);
    let other = second.charge(20 * KIB).expect("within");
    assert!(first.poll_sent().is_pending());
    drop(charge);
    assert!(first.poll_sent().is_ready());
    drop((other, first, second));
    assert_eq!((env.all.charged(), place.charged.load(Ordering::Relaxed)), (0, 0));
}

/// Connections that do not read cannot keep the others from an answer.
#[test]
fn stalled_exchange_makes_way_when_process_is_full() {
    let mut env = TestEnv::new();
    let watching = env.begin();
    watching.admit(STREAM_BYTES).expect("within");
    let stalled: Vec<_> = (0..3).map(|_| env.begin()).collect();
    let charges: Vec<_> = stalled.iter().map(|own| own.charge(32 * KIB).expect("within")).collect();
    let healthy = env.begin();
    healthy.charge(33 * KIB).expect_err("all made progress within the last second");
    let set = |own: &Exchange, moved_at| own.progress.moved_at.store(moved_at, Ordering::Relaxed);
    stalled.iter().zip([30, 10, 20]).for_each(|(own, moved_at)| set(own, moved_at));
    set(&watching, 5);
    let victim = env.all.state.lock().longest_without_progress(10_000, healthy.id);
    assert_eq!(victim, Some(stalled[1].id), "not the one that waits for something to send");
    env.all.state.lock().end(stalled[1].id);
    healthy.charge(33 * KIB).expect("there is space now");
    assert_eq!(stalled.iter().map(|own| is_ended(own)).collect::<Vec<_>>(), [false, true, false]);
    drop((charges, stalled, watching, healthy));
    assert_eq!(env.all.charged(), 0);
}

/// A client that reads a byte a second makes progress for ever.
#[test]
fn connection_with_more_than_its_share_makes_way() {
    let mut env = TestEnv::new();
    let slow: Vec<_> = (0..3).map(|_| env.begin()).collect();
    let charges: Vec<_> = slow.iter().zip([30, 36, 32]).map(|(own, kib)| own.charge(kib * KIB)).collect();
    assert!(charges.iter().all(Result::is_ok));
    let healthy = env.begin();
    let first = healthy.charge(20 * KIB).expect("less than any of the others has");
    assert_eq!(slow.iter().map(|own| is_ended(own)).collect::<Vec<_>>(), [false, true, false]);
    healthy.charge(20 * KIB).expect_err("it would have more than the others");
    drop((first, charges, slow, healthy));
    assert_eq!(env.all.charged(), 0);
}

#[test]
fn exchange_without_progress_ends_after_send_timeout() {
    let mut env = TestEnv::new();
    let config = Config { send_timeout: Duration::ZERO, ..Config::default() };
    env.all = Arc::new(ResponseBudget::new(&config, Clock::system()));
    let (stalled, watching) = (env.begin(), env.begin());
    let charge = stalled.charge(KIB).expect("within");
    watching.admit(STREAM_BYTES).expect("within");
    env.all.sweep();
    assert_eq!((is_ended(&stalled), is_ended(&watching)), (true, false));
    drop(charge);
    assert_eq!(env.all.charged(), STREAM_BYTES);
}
