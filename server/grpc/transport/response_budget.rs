//! Responses that were made and are not sent yet: a budget of bytes for each connection and for the process, over all
//! methods but Subscribe, whose sessions have bounds of their own (I9).
//!
//! A client that does not read costs what its responses have bytes, and no request is refused because it will not be read.
//! So each exchange is charged from its request on; what is over the budget of its connection ends with RESPONSE_LIMIT; when
//! the budget of the process is used up, the exchange that has made no progress for longest ends, or one of the connection
//! that is charged most; and one that makes none for `send_timeout` ends anyway.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::connection_slots::ClientConnectionInfo;
use crate::access::{ClientConnectionId, ConnectionPermit};
use crate::clock::{Clock, Moment};
use crate::grpc::Config;

tokio::task_local! {
    /// The exchange that this task carries.
    static CURRENT: Arc<Exchange>;
}

/// What each exchange is charged in addition to its response: its stream, and what its service keeps for it.
pub const STREAM_BYTES: usize = 2 << 10;
/// What a reflection stream is charged: two responses may wait inside the service, each with the descriptors of a file and
/// all that it imports.
pub const REFLECTION_BYTES: usize = 256 << 10;
/// An exchange that made progress this recently is not ended for want of space.
const SPARED_FOR: Duration = Duration::from_secs(1);

/// The exchanges of the process.
pub struct ResponseBudget {
    bytes_max: usize,
    connection_bytes_max: usize,
    send_timeout: Duration,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    charged: usize,
    next: u64,
    open: HashMap<u64, ConnectionCharge>,
}

struct ConnectionCharge {
    bytes: usize,
    progress: Arc<Progress>,
    place: Arc<ClientConnectionInfo>,
}

/// How far a response has come.
#[derive(Default)]
struct Progress {
    /// Bytes that HTTP/2 has and the socket has not.
    unsent: AtomicUsize,
    /// When the last of them went, or the exchange began; milliseconds.
    moved_at: AtomicU64,
    ended: AtomicBool,
    /// The task of the stream.
    waker: AtomicWaker,
    /// Whatever reads the request, if that is another task.
    request_waker: AtomicWaker,
}

/// One request and its response. It is ended by dropping its stream, which resets it.
pub struct Exchange {
    all: Arc<ResponseBudget>,
    place: Arc<ClientConnectionInfo>,
    progress: Arc<Progress>,
    id: u64,
    /// The caller's use of the connection, as long as the exchange lasts.
    connection: OnceLock<ConnectionPermit>,
}

/// No space for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseBudgetExceeded;

impl ResponseBudget {
    /// None yet.
    pub fn new(config: &Config, clock: Clock) -> Self {
        Self {
            bytes_max: config.response_bytes_max,
            connection_bytes_max: config.connection_response_bytes_max,
            send_timeout: config.send_timeout,
            clock,
            state: Mutex::default(),
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.clock.moment().since(Moment::default()).as_millis()).unwrap_or(u64::MAX)
    }

    fn charge(
        &self,
        id: u64,
        place: &Arc<ClientConnectionInfo>,
        progress: &Arc<Progress>,
        bytes: usize,
    ) -> Result<(), ResponseBudgetExceeded> {
        let now = self.millis();
        let mut state = self.state.lock();
        if place.charged.load(Ordering::Relaxed) + bytes > self.connection_bytes_max || bytes > self.bytes_max {
            return Err(ResponseBudgetExceeded);
        }
        while state.charged + bytes > self.bytes_max {
            let victim = state.longest_without_progress(now, id);
            let victim = victim.or_else(|| state.largest_beyond(place.charged.load(Ordering::Relaxed) + bytes));
            state.end(victim.ok_or(ResponseBudgetExceeded)?);
        }
        state.charged += bytes;
        place.charged.fetch_add(bytes, Ordering::Relaxed);
        let new = || ConnectionCharge { bytes: 0, progress: progress.clone(), place: place.clone() };
        state.open.entry(id).or_insert_with(new).bytes += bytes;
        Ok(())
    }

    /// Ends what makes no progress for `send_timeout`.
    pub fn sweep(&self) {
        let now = self.millis();
        let limit = u64::try_from(self.send_timeout.as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state.lock();
        let stalled = |charged: &ConnectionCharge| charged.class() < WATCHING && charged.age(now) >= limit;
        let ended: Vec<u64> = state.open.iter().filter(|(_, own)| stalled(own)).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| state.end(id));
    }

    /// Bytes that are charged now.
    #[cfg(test)]
    fn charged(&self) -> usize {
        self.state.lock().charged
    }
}

/// An exchange that waits for something to send.
const WATCHING: u8 = 2;

impl ConnectionCharge {
    /// Which are ended first: exchanges that do not read, then exchanges with responses for later requests, then others.
    fn class(&self) -> u8 {
        match self.progress.unsent.load(Ordering::Relaxed) {
            1.. => 0,
            0 if self.bytes > STREAM_BYTES => 1,
            0 => WATCHING,
        }
    }

    fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.progress.moved_at.load(Ordering::Relaxed))
    }
}

impl State {
    fn longest_without_progress(&self, now: u64, but: u64) -> Option<u64> {
        let spared = |charged: &ConnectionCharge| u128::from(charged.age(now)) < SPARED_FOR.as_millis();
        let others = self.open.iter().filter(|(id, charged)| **id != but && !spared(charged));
        let first = others.min_by_key(|(_, charged)| (charged.class(), u64::MAX - charged.age(now)));
        first.map(|(id, _)| *id)
    }

    /// The largest exchange of the connection that is charged most, if that is more than `share`. A client that reads a
    /// byte now and then makes progress, and is not to keep the others from their share.
    fn largest_beyond(&self, share: usize) -> Option<u64> {
        let size = |charged: &ConnectionCharge| (charged.place.charged.load(Ordering::Relaxed), charged.bytes);
        let (id, charged) = self.open.iter().max_by_key(|(_, charged)| size(charged))?;
        (size(charged).0 > share).then_some(*id)
    }

    fn end(&mut self, id: u64) {
        if let Some(charged) = self.forget(id) {
            charged.progress.ended.store(true, Ordering::Release);
            charged.progress.waker.wake();
            charged.progress.request_waker.wake();
        }
    }

    fn forget(&mut self, id: u64) -> Option<ConnectionCharge> {
        let charged = self.open.remove(&id)?;
        self.charged -= charged.bytes;
        charged.place.charged.fetch_sub(charged.bytes, Ordering::Relaxed);
        Some(charged)
    }
}

impl Exchange {
    /// A request that has come on this connection; nothing is charged for it yet.
    pub fn begin(all: &Arc<ResponseBudget>, place: &Arc<ClientConnectionInfo>) -> Arc<Self> {
        let id = {
            let mut state = all.state.lock();
            state.next += 1;
            state.next
        };
        let progress = Arc::new(Progress { moved_at: all.millis().into(), ..Progress::default() });
        Arc::new(Self { all: all.clone(), place: place.clone(), progress, id, connection: OnceLock::new() })
    }

    /// The exchange whose task this is.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Polls the stream of this exchange. It is over when it was ended from outside, too.
    pub fn poll(self: &Arc<Self>, cx: &mut Context<'_>, stream: impl FnOnce(&mut Context<'_>) -> Poll<()>) -> Poll<()> {
        self.progress.waker.register(cx.waker());
        if self.progress.ended.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        CURRENT.sync_scope(self.clone(), || stream(cx))
    }

    /// Whether it was ended from outside; wakes the reader of the request when it is. A service may keep the request in a task
    /// of its own, and a stream is reset only when neither half of it is used.
    pub fn poll_request_ended(&self, cx: &mut Context<'_>) -> bool {
        self.progress.request_waker.register(cx.waker());
        self.progress.ended.load(Ordering::Acquire)
    }

    /// Returns the connection that carries it.
    pub fn connection(&self) -> ClientConnectionId {
        self.place.id
    }

    /// Keeps the caller's permit for the connection until the exchange ends.
    pub fn keep(&self, permit: ConnectionPermit) {
        // Called once: a later permit would only be dropped early.
        let _ = self.connection.set(permit);
    }

    /// Ends it from outside: its stream is reset.
    pub fn abort(&self) {
        self.progress.ended.store(true, Ordering::Release);
        self.progress.waker.wake();
        self.progress.request_waker.wake();
    }

    /// Charges it for what it keeps as long as it lasts.
    pub fn admit(&self, bytes: usize) -> Result<(), ResponseBudgetExceeded> {
        self.all.charge(self.id, &self.place, &self.progress, bytes)
    }

    /// Charges it for a piece of its response, until that is sent.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Result<BudgetCharge, ResponseBudgetExceeded> {
        self.all.charge(self.id, &self.place, &self.progress, bytes)?;
        self.progress.moved_at.store(self.all.millis(), Ordering::Relaxed);
        self.progress.unsent.fetch_add(bytes, Ordering::Relaxed);
        Ok(BudgetCharge { exchange: self.clone(), left: bytes })
    }

    /// Ready when all that was charged as a response is sent. So the task of a stream lives as long as its response, and can
    /// be ended with it.
    pub fn poll_sent(&self) -> Poll<()> {
        if self.progress.unsent.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn sent(&self, bytes: usize) {
        {
            let mut state = self.all.state.lock();
            // If it was ended, this is settled.
            if let Some(charged) = state.open.get_mut(&self.id) {
                charged.bytes -= bytes;
                state.charged -= bytes;
                self.place.charged.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        self.progress.moved_at.store(self.all.millis(), Ordering::Relaxed);
        if self.progress.unsent.fetch_sub(bytes, Ordering::AcqRel) == bytes {
            self.progress.waker.wake();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.all.state.lock().forget(self.id);
    }
}

/// Bytes of a response that are not sent yet. What is left when it is dropped will not be sent.
pub struct BudgetCharge {
    exchange: Arc<Exchange>,
    left: usize,
}

impl BudgetCharge {
    /// So many more bytes are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.left -= bytes;
        self.exchange.sent(bytes);
    }
}

impl Drop for BudgetCharge {
    fn drop(&mut self) {
        if self.left > 0 {
            self.exchange.sent(self.left);
        }
    }
}

impl fmt::Debug for BudgetCharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({})", self.left)
    }
}

#[cfg(test)]
mod tests;
