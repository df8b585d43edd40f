use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::handle::{StreamEnd, StreamHandle, StreamKind};
use crate::clock::{Clock, Moment};
use crate::simulator::faults::Scope;
use crate::simulator::socket::SocketControl;

/// A slot in use; dropping it gives the slot back.
#[derive(Debug)]
pub(in crate::simulator) struct StreamSlotGuard {
    slots: Arc<StreamSlots>,
    pub(in crate::simulator) link: Arc<StreamHandle>,
    /// The stream was sent to its end.
    pub(in crate::simulator) ended: bool,
}

/// The slots.
#[derive(Debug)]
pub(in crate::simulator) struct StreamSlots {
    state: Mutex<SlotState>,
    clock: Clock,
    /// How long a slot stays taken after an unclean end.
    held_for: Mutex<Duration>,
}

/// How many slots there are.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct SlotLimits {
    pub(in crate::simulator) live: usize,
    pub(in crate::simulator) recovery: usize,
}

/// What a slot is wanted for.
#[derive(Clone, Copy, Debug)]
pub(in crate::simulator) struct SlotRequest {
    pub(in crate::simulator) kind: StreamKind,
    /// There need not be one.
    pub(in crate::simulator) over: bool,
    /// Only the posts of one datacenter; there are so many.
    pub(in crate::simulator) local: Option<usize>,
    /// The datacenter that it was asked for by.
    pub(in crate::simulator) via: Option<usize>,
}

#[derive(Debug, Default)]
struct SlotState {
    links: Vec<Arc<StreamHandle>>,
    /// Lags of the next live connections.
    lags: VecDeque<Duration>,
    /// Until when slots stay taken that were left uncleanly.
    held: Vec<(StreamKind, Moment)>,
    next: u64,
    live_ever: usize,
    recovery_ever: usize,
    left: u64,
    held_ever: u64,
}

impl StreamSlots {
    pub(in crate::simulator) fn new(clock: Clock, held_for: Duration) -> Self {
        Self { state: Mutex::default(), clock, held_for: Mutex::new(held_for) }
    }

    fn holds(&self) -> bool {
        !self.held_for.lock().is_zero()
    }

    /// How long slots stay taken from now on after an unclean end.
    pub(in crate::simulator) fn reserve_for(&self, duration: Duration) {
        *self.held_for.lock() = duration;
    }

    /// Delays the posts of the next live connection; several calls are for as many connections, in order.
    pub(in crate::simulator) fn lag_next(&self, lag: Duration) {
        self.state.lock().lags.push_back(lag);
    }

    /// A slot, if there is one, or if there need not be.
    pub(in crate::simulator) fn take(
        self: &Arc<Self>,
        limits: SlotLimits,
        wanted: SlotRequest,
        socket: Arc<SocketControl>,
    ) -> Option<StreamSlotGuard> {
        let kind = wanted.kind;
        let mut state = self.state.lock();
        let now = self.clock.moment();
        state.held.retain(|(_, until)| *until > now);
        let open = state.in_use(kind, self.holds()) + 1;
        let taken = open + state.held.iter().filter(|(held, _)| *held == kind).count();
        let max = if kind == StreamKind::Live { limits.live } else { limits.recovery };
        if taken > max && !wanted.over {
            return None;
        }
        let datacenter = wanted.local.map(|count| wanted.via.unwrap_or_else(|| state.least_served(count)));
        let link = Arc::new(StreamHandle::new(kind, datacenter, wanted.via, state.next, socket));
        state.next += 1;
        state.links.push(link.clone());
        match kind {
            StreamKind::Live => {
                // Together with its number: of connections that begin at once, the first one has the first lag.
                link.set_lag(state.lags.pop_front().unwrap_or_default());
                state.live_ever = state.live_ever.max(open);
            }
            StreamKind::Recovery => state.recovery_ever = state.recovery_ever.max(open),
        }
        Some(StreamSlotGuard { slots: self.clone(), link, ended: false })
    }

    /// Returns the open streams of this scope; `datacenters` are the names that it may contain.
    pub(in crate::simulator) fn of(&self, scope: &Scope, datacenters: &[String]) -> Vec<Arc<StreamHandle>> {
        let mut links = self.state.lock().links.clone();
        links.retain(|link| !link.is_over(false));
        match scope {
            Scope::All => {}
            Scope::Live => links.retain(|link| link.kind == StreamKind::Live),
            Scope::Recovery => links.retain(|link| link.kind == StreamKind::Recovery),
            Scope::Connection(number) => {
                links.retain(|link| link.kind == StreamKind::Live);
                links = links.get(*number).cloned().into_iter().collect();
            }
            Scope::Datacenter(name) => {
                let wanted = datacenters.iter().position(|datacenter| datacenter == name);
                links.retain(|link| wanted.is_some() && link.place() == wanted);
            }
        }
        links
    }

    pub(in crate::simulator) fn links(&self, kind: StreamKind) -> Vec<Arc<StreamHandle>> {
        self.state.lock().links.iter().filter(|link| link.kind == kind).cloned().collect()
    }

    /// Open now, and most ever.
    pub(in crate::simulator) fn open(&self, kind: StreamKind) -> (usize, usize) {
        let state = self.state.lock();
        let ever = if kind == StreamKind::Live { state.live_ever } else { state.recovery_ever };
        (state.open(kind, self.holds()), ever)
    }

    /// Streams that their clients left, and slots that were held.
    pub(in crate::simulator) fn disconnected_and_reserved(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.left, state.held_ever)
    }

    /// The live connection to end where there are too many.
    pub(in crate::simulator) fn excess(&self, live_max: usize, newest: bool) -> Option<Arc<StreamHandle>> {
        let mut live = self.links(StreamKind::Live);
        live.retain(|link| !link.is_ending());
        if live.len() <= live_max {
            return None;
        }
        if newest { live.pop() } else { live.into_iter().next() }
    }
}

impl SlotState {
    /// `held`: slots stay taken after an unclean end.
    fn open(&self, kind: StreamKind, held: bool) -> usize {
        self.links.iter().filter(|link| link.kind == kind && !link.is_over(held)).count()
    }

    /// Slots that a client still has: a client that left before it asked again is not refused for the moment that it
    /// takes to notice.
    fn in_use(&self, kind: StreamKind, held: bool) -> usize {
        let of_it = |link: &&Arc<StreamHandle>| link.kind == kind && !link.is_over(held);
        self.links.iter().filter(of_it).filter(|link| held || !link.is_disconnected()).count()
    }

    /// The datacenter with the fewest connections, so that a second one gets the other coast.
    fn least_served(&self, count: usize) -> usize {
        let served = |datacenter: &usize| self.links.iter().filter(|link| link.datacenter == Some(*datacenter)).count();
        (0..count).min_by_key(served).unwrap_or(0)
    }
}

impl Drop for StreamSlotGuard {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock();
        state.links.retain(|link| link.number != self.link.number);
        let clean = self.ended && !matches!(self.link.ending(), Some(StreamEnd::Reset | StreamEnd::MidMessage));
        if !self.ended && !self.link.is_ending() {
            state.left += 1;
        }
        let held_for = *self.slots.held_for.lock();
        if !clean && !held_for.is_zero() {
            let until = self.slots.clock.moment().plus(held_for);
            state.held.push((self.link.kind, until));
            state.held_ever += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::socket::ControlledSocket;

    const LIMITS: SlotLimits = SlotLimits { live: 1, recovery: 2 };

    fn slots() -> Arc<StreamSlots> {
        Arc::new(StreamSlots::new(Clock::with_rate(1_000.0, None), Duration::ZERO))
    }

    fn take(slots: &Arc<StreamSlots>, limits: SlotLimits, kind: StreamKind) -> Option<StreamSlotGuard> {
        slots.take(limits, SlotRequest { kind, over: false, local: None, via: None }, Arc::default())
    }

    /// A client, and the socket of its connection, which has no reader.
    async fn connection(control: &Arc<SocketControl>) -> (tokio::net::TcpStream, ControlledSocket) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let client = tokio::net::TcpStream::connect(address).await.expect("connected");
        (client, ControlledSocket::new(listener.accept().await.expect("accepted").0, control.clone()))
    }

    #[tokio::test]
    async fn disconnected_client_frees_slot() {
        let control = Arc::new(SocketControl::default());
        let (client, wire) = connection(&control).await;
        let slots = slots();
        let wanted = SlotRequest { kind: StreamKind::Live, over: false, local: None, via: None };
        let first = slots.take(LIMITS, wanted, control.clone()).expect("the first");
        assert!(take(&slots, LIMITS, StreamKind::Live).is_none(), "it is there");
        drop(client);
        let second = take(&slots, LIMITS, StreamKind::Live).expect("it has left");
        assert_eq!(slots.open(StreamKind::Live).1, 1, "never two at once");
        assert!(take(&slots, LIMITS, StreamKind::Live).is_none(), "and now the second is there");
        drop((first, second, wire));
        assert!(control.is_left(), "its client had closed it before");
    }

    /// The socket of a stream may be gone before the stream is.
    #[tokio::test]
    async fn closed_socket_frees_slot_of_client_that_left() {
        for is_left in [true, false] {
            let control = Arc::new(SocketControl::default());
            let (client, wire) = connection(&control).await;
            let slots = slots();
            let wanted = SlotRequest { kind: StreamKind::Live, over: false, local: None, via: None };
            let first = slots.take(LIMITS, wanted, control.clone()).expect("the first");
            let client = (!is_left).then_some(client);
            drop(wire);
            assert_eq!(control.is_left(), is_left, "a socket closed on this side proves nothing by itself");
            assert_eq!(take(&slots, LIMITS, StreamKind::Live).is_some(), is_left);
            drop((first, client));
        }
    }

    #[test]
    fn live_and_recovery_have_slots_of_their_own() {
        let slots = slots();
        let live = take(&slots, LIMITS, StreamKind::Live).expect("the first");
        assert!(take(&slots, LIMITS, StreamKind::Live).is_none());
        let jobs: Vec<_> = (0..2).filter_map(|_| take(&slots, LIMITS, StreamKind::Recovery)).collect();
        assert!(take(&slots, LIMITS, StreamKind::Recovery).is_none());
        drop((live, jobs));
        assert_eq!(
            (slots.open(StreamKind::Live), slots.open(StreamKind::Recovery), slots.disconnected_and_reserved()),
            ((0, 1), (0, 2), (3, 0))
        );
        assert!(take(&slots, LIMITS, StreamKind::Live).is_some());
    }

    #[test]
    fn unclean_disconnect_reserves_slot_for_grace() {
        let limits = SlotLimits { live: 1, recovery: 1 };
        for (kind, other) in [(StreamKind::Live, StreamKind::Recovery), (StreamKind::Recovery, StreamKind::Live)] {
            let slots = slots();
            slots.reserve_for(Duration::from_secs(3_600));
            let mut clean = take(&slots, limits, kind).expect("free");
            clean.ended = true;
            drop(clean);
            drop(take(&slots, limits, kind).expect("free after a clean end"));
            assert!(take(&slots, limits, kind).is_none());
            assert_eq!(slots.disconnected_and_reserved(), (1, 1));
            assert!(take(&slots, limits, other).is_some());
            let over = SlotRequest { kind, over: true, local: None, via: None };
            assert!(slots.take(limits, over, Arc::default()).is_some());
        }
    }

    #[test]
    fn newest_or_oldest_is_too_many() {
        let slots = slots();
        let wanted = SlotRequest { kind: StreamKind::Live, over: true, local: Some(2), via: None };
        let live: Vec<_> = (0..3).filter_map(|_| slots.take(LIMITS, wanted, Arc::default())).collect();
        assert_eq!(live.iter().map(|slot| slot.link.datacenter).collect::<Vec<_>>(), [Some(0), Some(1), Some(0)]);
        let newest = slots.excess(1, true).expect("one too many");
        assert!(Arc::ptr_eq(&newest, &live[2].link) && newest.end(StreamEnd::Reset) && !newest.end(StreamEnd::Reset));
        let oldest = slots.excess(1, false).expect("still one too many");
        assert!(Arc::ptr_eq(&oldest, &live[0].link) && oldest.end(StreamEnd::Clean(None)));
        assert!(slots.excess(1, false).is_none());
    }

    #[test]
    fn slot_is_free_after_server_releases_it() {
        for ending in [StreamEnd::Clean(None), StreamEnd::Reset, StreamEnd::MidMessage] {
            let slots = slots();
            let slot = take(&slots, LIMITS, StreamKind::Live).expect("the first");
            assert!(slot.link.end(ending) && take(&slots, LIMITS, StreamKind::Live).is_some());
            assert_eq!(slots.open(StreamKind::Live), (0, 1));
        }
        let slots = slots();
        let jobs: Vec<_> = (0..2).filter_map(|_| take(&slots, LIMITS, StreamKind::Recovery)).collect();
        jobs[0].link.finished();
        assert!(take(&slots, LIMITS, StreamKind::Recovery).is_some(), "the job was sent to its end");
        slots.reserve_for(Duration::from_secs(60));
        jobs[1].link.end(StreamEnd::Reset);
        assert_eq!(slots.open(StreamKind::Recovery).0, 1, "it is not let go of after an unclean end");
    }

    #[test]
    fn scope_selects_streams_by_number_and_datacenter() {
        let slots = slots();
        let limits = SlotLimits { live: 3, ..LIMITS };
        let slot = |kind, local, via| {
            let wanted = SlotRequest { kind, over: false, local, via };
            slots.take(limits, wanted, Arc::default()).expect("free")
        };
        let _open = [
            slot(StreamKind::Recovery, None, None),
            slot(StreamKind::Live, None, None),
            slot(StreamKind::Live, None, Some(1)),
            slot(StreamKind::Live, Some(2), Some(1)),
        ];
        let names = ["atla".to_owned(), "pdxa".to_owned()];
        let numbers = |scope| slots.of(&scope, &names).iter().map(|link| link.number).collect::<Vec<_>>();
        assert_eq!((numbers(Scope::All), numbers(Scope::Recovery)), (vec![0, 1, 2, 3], vec![0]));
        assert_eq!((numbers(Scope::Connection(1)), numbers(Scope::Connection(3))), (vec![2], vec![]));
        assert_eq!(
            (numbers(Scope::Datacenter("pdxa".into())), numbers(Scope::Datacenter("x".into()))),
            (vec![2, 3], vec![])
        );
    }
}
