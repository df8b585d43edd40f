//! The places of connections: how many there may be, of one peer and in all, and which makes way.
//!
//! A connection without streams answers pings for ever and costs its client nothing. So one that is idle for `idle_timeout`
//! is closed in order, and when all places are taken, the one that is idle for longest makes way for a new one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::access::ClientConnectionId;
use crate::clock::{Clock, Moment};
use crate::grpc::Config;
use crate::task::Shutdown;

/// The places of all connections.
pub struct ConnectionSlots {
    connections_max: AtomicUsize,
    per_peer_max: usize,
    idle_timeout: Duration,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    taken: HashMap<u64, Arc<ClientConnectionInfo>>,
    peers: HashMap<IpAddr, usize>,
}

/// What is known of a connection.
pub struct ClientConnectionInfo {
    /// Unique in the process.
    pub id: ClientConnectionId,
    peer: IpAddr,
    /// Bytes that its exchanges are charged (`exchange`).
    pub charged: AtomicUsize,
    /// Streams that are open.
    streams: AtomicUsize,
    /// Since when there are none; milliseconds.
    idle_since: AtomicU64,
    /// It is to be closed in order.
    idle: Shutdown,
    /// It has lost its place.
    evicted: Shutdown,
    clock: Clock,
}

/// A place that is taken, until this is dropped.
pub struct ConnectionSlotGuard {
    places: Arc<ConnectionSlots>,
    place: Arc<ClientConnectionInfo>,
    id: u64,
}

/// A stream that is open, until this is dropped.
pub struct OpenStream(Arc<ClientConnectionInfo>);

impl ConnectionSlots {
    /// All free.
    pub fn new(config: &Config, clock: Clock) -> Self {
        Self {
            connections_max: AtomicUsize::new(config.connections_max),
            // 0 is no bound of its own.
            per_peer_max: Some(config.connections_per_peer_max).filter(|max| *max > 0).unwrap_or(usize::MAX),
            idle_timeout: config.idle_timeout,
            clock,
            state: Mutex::default(),
        }
    }

    /// Takes a place for a new connection; `None` if all are taken by connections that are in use.
    pub fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionSlotGuard> {
        let mut state = self.state.lock();
        state.next += 1;
        let id = state.next;
        let place = Arc::new(ClientConnectionInfo {
            id: ClientConnectionId(id),
            peer,
            charged: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            idle_since: AtomicU64::new(millis(&self.clock)),
            idle: Shutdown::new(),
            evicted: Shutdown::new(),
            clock: self.clock.clone(),
        });
        if state.peers.get(&peer).is_some_and(|count| *count >= self.per_peer_max) {
            state.evict(|place| place.peer == peer)?;
        } else if state.taken.len() >= self.connections_max.load(Ordering::Relaxed) {
            state.evict(|_| true)?;
        }
        state.taken.insert(id, place.clone());
        *state.peers.entry(peer).or_default() += 1;
        drop(state);
        Some(ConnectionSlotGuard { places: self.clone(), place, id })
    }

    /// Changes the maximum number of connections. Open connections stay.
    pub fn set_connections_max(&self, max: usize) {
        self.connections_max.store(max, Ordering::Relaxed);
    }

    /// Requests connections that are idle for `idle_timeout` to close.
    pub fn sweep(&self) {
        let now = millis(&self.clock);
        let limit = u64::try_from(self.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        let state = self.state.lock();
        let idle = |place: &&Arc<ClientConnectionInfo>| {
            place.idle_since().is_some_and(|since| now.saturating_sub(since) >= limit)
        };
        state.taken.values().filter(idle).for_each(|place| place.idle.cancel());
    }
}

impl State {
    /// Takes the place from the connection that is idle for longest.
    fn evict(&mut self, of: impl Fn(&ClientConnectionInfo) -> bool) -> Option<()> {
        let idle = self.taken.iter().filter(|(_, place)| of(place));
        let idle = idle.filter_map(|(id, place)| Some((place.idle_since()?, *id)));
        let (_, id) = idle.min()?;
        let place = self.leave(id)?;
        tracing::debug!(peer = %place.peer, "an idle connection makes way for a new one");
        place.evicted.cancel();
        Some(())
    }

    fn leave(&mut self, id: u64) -> Option<Arc<ClientConnectionInfo>> {
        let place = self.taken.remove(&id)?;
        if let Some(count) = self.peers.get_mut(&place.peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&place.peer);
            }
        }
        Some(place)
    }
}

impl ClientConnectionInfo {
    /// A stream was opened.
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(self.clone())
    }

    /// Since when it has no stream, if it has none.
    fn idle_since(&self) -> Option<u64> {
        (self.streams.load(Ordering::Relaxed) == 0).then(|| self.idle_since.load(Ordering::Relaxed))
    }

    /// Until it has lost its place.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Until it is to be closed in order.
    pub async fn idle(&self) {
        self.idle.cancelled().await;
    }
}

impl ConnectionSlotGuard {
    /// Whose it is.
    pub fn place(&self) -> &Arc<ClientConnectionInfo> {
        &self.place
    }
}

impl Drop for ConnectionSlotGuard {
    fn drop(&mut self) {
        self.places.state.lock().leave(self.id);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // Before the count: a reader that sees no stream sees since when.
        self.0.idle_since.store(millis(&self.0.clock), Ordering::Relaxed);
        self.0.streams.fetch_sub(1, Ordering::Release);
    }
}

fn millis(clock: &Clock) -> u64 {
    u64::try_from(clock.moment().since(Moment::default()).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn peer(n: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))
    }

    fn places(connections_max: usize, connections_per_peer_max: usize) -> Arc<ConnectionSlots> {
        let config = Config { connections_max, connections_per_peer_max, ..Config::default() };
        Arc::new(ConnectionSlots::new(&config, Clock::system()))
    }

    fn is_evicted(guard: &ConnectionSlotGuard) -> bool {
        guard.place.evicted.is_cancelled()
    }

    /// Connections that only answer pings took all places for ever.
    #[test]
    fn longest_idle_connection_makes_way_when_full() {
        let places = places(3, 0);
        let guards: Vec<_> = (0..3).map(|n| places.enter(peer(n)).expect("free")).collect();
        for (guard, since) in guards.iter().zip([5, 1, 3]) {
            guard.place.idle_since.store(since, Ordering::Relaxed);
        }
        let busy = guards[1].place.open_stream();
        let fourth = places.enter(peer(9)).expect("one makes way");
        assert_eq!(guards.iter().map(is_evicted).collect::<Vec<_>>(), [false, false, true], "the busy one stays");
        let streams = [guards[0].place.open_stream(), fourth.place.open_stream()];
        assert!(places.enter(peer(9)).is_none(), "none is idle");
        drop((busy, streams));
        for (guard, since) in guards.iter().chain([&fourth]).zip([5, 1, 3, 9]) {
            guard.place.idle_since.store(since, Ordering::Relaxed);
        }
        places.enter(peer(9)).expect("one is idle again");
        assert!(is_evicted(&guards[1]));
        drop((guards, fourth));
        assert!(places.state.lock().taken.is_empty() && places.state.lock().peers.is_empty());
    }

    #[test]
    fn lower_limit_closes_no_connection() {
        let places = places(3, 0);
        let guards: Vec<_> = (0..3).map(|n| places.enter(peer(n)).expect("free")).collect();
        let busy: Vec<_> = guards.iter().map(|guard| guard.place.open_stream()).collect();
        places.set_connections_max(1);
        assert!(places.enter(peer(9)).is_none() && !guards.iter().any(is_evicted));
        places.set_connections_max(4);
        assert!(places.enter(peer(9)).is_some());
        drop(busy);
    }

    #[test]
    fn peer_at_its_bound_displaces_only_itself() {
        let places = places(10, 2);
        let other = places.enter(peer(1)).expect("free");
        let own: Vec<_> = (0..5).map(|_| places.enter(peer(2))).collect();
        assert!(own.iter().all(Option::is_some) && !is_evicted(&other));
        assert_eq!(own.iter().flatten().filter(|guard| is_evicted(guard)).count(), 3);
        let last: Vec<_> = own[3..].iter().flatten().map(|guard| guard.place.open_stream()).collect();
        assert!(places.enter(peer(2)).is_none(), "both are in use");
        drop(last);
        assert!(places.enter(peer(2)).is_some());
    }
}
