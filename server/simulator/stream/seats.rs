use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::simulator::faults::CutKind;
use crate::simulator::wire::Control;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Kind {
    Live,
    Recovery,
}

/// How a stream is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Ending {
    /// With this message, if any, and the zero-length chunk.
    Clean(Option<Bytes>),
    Reset,
    MidMessage,
}

/// An open stream, as the rest of the simulator sees it.
#[derive(Debug)]
pub(in crate::simulator) struct Link {
    pub(in crate::simulator) kind: Kind,
    pub(in crate::simulator) datacenter: Option<usize>,
    number: u64,
    /// Bytes of the log that the client has taken.
    taken: AtomicU64,
    ending: Mutex<Option<Ending>>,
    wake: Notify,
    socket: Arc<Control>,
}

/// A slot in use; dropping it gives the slot back.
#[derive(Debug)]
pub(in crate::simulator) struct Seat {
    seats: Arc<Seats>,
    pub(in crate::simulator) link: Arc<Link>,
    /// The stream was sent to its end.
    pub(in crate::simulator) ended: bool,
}

/// The slots.
#[derive(Debug)]
pub(in crate::simulator) struct Seats {
    state: Mutex<State>,
    clock: Clock,
    live_max: usize,
    recovery_max: usize,
    held_for: Duration,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<Arc<Link>>,
    /// Until when slots stay taken that were left uncleanly.
    held: Vec<Moment>,
    next: u64,
    live_ever: usize,
    recovery_ever: usize,
    left: u64,
}

impl Seats {
    pub(in crate::simulator) fn new(clock: Clock, live_max: usize, recovery_max: usize, held_for: Duration) -> Self {
        Self { state: Mutex::default(), clock, live_max, recovery_max, held_for }
    }

    /// A slot, if there is one, or if it need not be (`over`).
    pub(in crate::simulator) fn take(
        self: &Arc<Self>,
        kind: Kind,
        over: bool,
        local: Option<usize>,
        socket: Arc<Control>,
    ) -> Option<Seat> {
        let mut state = self.state.lock();
        let now = self.clock.moment();
        state.held.retain(|until| *until > now);
        let open = state.open(kind) + 1;
        let (max, taken) = match kind {
            Kind::Live => (self.live_max, open + state.held.len()),
            Kind::Recovery => (self.recovery_max, open),
        };
        if taken > max && !over {
            return None;
        }
        let datacenter = local.map(|count| state.least_served(count));
        let link = Arc::new(Link {
            kind,
            datacenter,
            number: state.next,
            taken: AtomicU64::new(u64::MAX),
            ending: Mutex::default(),
            wake: Notify::new(),
            socket,
        });
        state.next += 1;
        state.links.push(link.clone());
        match kind {
            Kind::Live => state.live_ever = state.live_ever.max(open),
            Kind::Recovery => state.recovery_ever = state.recovery_ever.max(open),
        }
        Some(Seat { seats: self.clone(), link, ended: false })
    }

    pub(in crate::simulator) fn links(&self, kind: Kind) -> Vec<Arc<Link>> {
        self.state.lock().links.iter().filter(|link| link.kind == kind).cloned().collect()
    }

    /// Open now, and most ever.
    pub(in crate::simulator) fn open(&self, kind: Kind) -> (usize, usize) {
        let state = self.state.lock();
        let ever = if kind == Kind::Live { state.live_ever } else { state.recovery_ever };
        (state.open(kind), ever)
    }

    /// Streams that their clients left.
    pub(in crate::simulator) fn left(&self) -> u64 {
        self.state.lock().left
    }

    /// The live connection to end where there are too many.
    pub(in crate::simulator) fn excess(&self, newest: bool) -> Option<Arc<Link>> {
        let mut live = self.links(Kind::Live);
        live.retain(|link| !link.is_ending());
        if live.len() <= self.live_max {
            return None;
        }
        if newest { live.pop() } else { live.into_iter().next() }
    }
}

impl State {
    fn open(&self, kind: Kind) -> usize {
        self.links.iter().filter(|link| link.kind == kind).count()
    }

    /// The datacenter with the fewest connections, so that a second one gets the other coast.
    fn least_served(&self, count: usize) -> usize {
        let served = |datacenter: &usize| self.links.iter().filter(|link| link.datacenter == Some(*datacenter)).count();
        (0..count).min_by_key(served).unwrap_or(0)
    }
}

impl Link {
    /// Ends the stream; the first ending counts. True if this is it.
    pub(in crate::simulator) fn end(&self, ending: Ending) -> bool {
        let mut now = self.ending.lock();
        if now.is_some() {
            return false;
        }
        let reset = ending == Ending::Reset;
        *now = Some(ending);
        drop(now);
        self.wake.notify_one();
        if reset {
            self.socket.reset()
        } else {
            self.socket.end()
        }
        true
    }

    pub(in crate::simulator) fn ending(&self) -> Option<Ending> {
        self.ending.lock().clone()
    }

    pub(in crate::simulator) fn is_ending(&self) -> bool {
        self.ending.lock().is_some()
    }

    /// Waits until the stream is to end.
    pub(in crate::simulator) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The end of the body has been handed over.
    pub(in crate::simulator) fn finished(&self) {
        self.socket.end();
    }

    /// Half a message has been handed over; it is to be the last.
    pub(in crate::simulator) fn die_after_flush(&self) {
        self.socket.die_after_flush();
    }

    /// The client has taken the log up to this offset.
    pub(in crate::simulator) fn took(&self, offset: u64) {
        self.taken.store(offset, Ordering::Relaxed);
    }

    /// Bytes between what the client has taken and this offset.
    pub(in crate::simulator) fn behind(&self, offset: u64) -> u64 {
        offset.saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.seats.state.lock();
        state.links.retain(|link| link.number != self.link.number);
        let clean = self.ended && !matches!(self.link.ending(), Some(Ending::Reset | Ending::MidMessage));
        if !self.ended && !self.link.is_ending() {
            state.left += 1;
        }
        if self.link.kind == Kind::Live && !clean && !self.seats.held_for.is_zero() {
            let until = self.seats.clock.moment().plus(self.seats.held_for);
            state.held.push(until);
        }
    }
}

impl From<CutKind> for Ending {
    fn from(kind: CutKind) -> Self {
        match kind {
            CutKind::CleanEnd => Self::Clean(None),
            CutKind::Reset => Self::Reset,
            CutKind::MidMessage => Self::MidMessage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(held_for: Duration) -> Arc<Seats> {
        Arc::new(Seats::new(Clock::with_rate(1_000.0, None), 1, 2, held_for))
    }

    #[test]
    fn live_and_recovery_have_slots_of_their_own() {
        let seats = seats(Duration::ZERO);
        let live = seats.take(Kind::Live, false, None, Arc::default()).expect("the first");
        assert!(seats.take(Kind::Live, false, None, Arc::default()).is_none());
        let jobs: Vec<_> = (0..2).filter_map(|_| seats.take(Kind::Recovery, false, None, Arc::default())).collect();
        assert!(seats.take(Kind::Recovery, false, None, Arc::default()).is_none());
        drop((live, jobs));
        assert_eq!((seats.open(Kind::Live), seats.open(Kind::Recovery), seats.left()), ((0, 1), (0, 2), 3));
        assert!(seats.take(Kind::Live, false, None, Arc::default()).is_some());
    }

    #[test]
    fn a_slot_left_uncleanly_stays_taken_for_a_while() {
        let seats = seats(Duration::from_secs(3_600));
        let mut clean = seats.take(Kind::Live, false, None, Arc::default()).expect("free");
        clean.ended = true;
        drop(clean);
        drop(seats.take(Kind::Live, false, None, Arc::default()).expect("free after a clean end"));
        assert!(seats.take(Kind::Live, false, None, Arc::default()).is_none());
        assert!(seats.take(Kind::Live, true, None, Arc::default()).is_some());
    }

    #[test]
    fn the_newest_or_the_oldest_is_too_many() {
        let seats = seats(Duration::ZERO);
        let live: Vec<_> = (0..3).filter_map(|_| seats.take(Kind::Live, true, Some(2), Arc::default())).collect();
        assert_eq!(live.iter().map(|seat| seat.link.datacenter).collect::<Vec<_>>(), [Some(0), Some(1), Some(0)]);
        let newest = seats.excess(true).expect("one too many");
        assert!(Arc::ptr_eq(&newest, &live[2].link) && newest.end(Ending::Reset) && !newest.end(Ending::Reset));
        let oldest = seats.excess(false).expect("still one too many");
        assert!(Arc::ptr_eq(&oldest, &live[0].link) && oldest.end(Ending::Clean(None)));
        assert!(seats.excess(false).is_none());
    }
}
