use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::simulator::faults::{CutKind, Flow};
use crate::simulator::socket::SocketControl;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum StreamKind {
    Live,
    Recovery,
}

/// How a stream is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum StreamEnd {
    /// With this message, if any, and the zero-length chunk.
    Clean(Option<Bytes>),
    Reset,
    MidMessage,
}

/// An open stream, as the rest of the simulator sees it.
#[derive(Debug)]
pub(in crate::simulator) struct StreamHandle {
    pub(in crate::simulator) kind: StreamKind,
    /// The datacenter whose posts alone it gets.
    pub(in crate::simulator) datacenter: Option<usize>,
    /// The datacenter that it was asked for by.
    via: Option<usize>,
    /// Its number among all streams.
    pub(in crate::simulator) number: u64,
    /// Bytes of the log that the client has taken.
    taken: AtomicU64,
    ending: Mutex<Option<StreamEnd>>,
    /// The end of the body was handed over.
    finished: AtomicBool,
    /// A cut that waits for a post.
    armed: Mutex<Option<CutKind>>,
    /// What comes over this stream, whatever over the others.
    flow: Mutex<Flow>,
    /// Posts come so much later than they were made.
    lag: Mutex<Duration>,
    wake: Notify,
    socket: Arc<SocketControl>,
}

impl StreamHandle {
    pub(super) fn new(
        kind: StreamKind,
        datacenter: Option<usize>,
        via: Option<usize>,
        number: u64,
        socket: Arc<SocketControl>,
    ) -> Self {
        Self {
            kind,
            datacenter,
            via,
            number,
            taken: AtomicU64::new(u64::MAX),
            ending: Mutex::default(),
            finished: AtomicBool::new(false),
            armed: Mutex::default(),
            flow: Mutex::default(),
            lag: Mutex::default(),
            wake: Notify::new(),
            socket,
        }
    }

    /// The datacenter that it is of, if of one.
    pub(super) fn place(&self) -> Option<usize> {
        self.datacenter.or(self.via)
    }

    /// Ends the stream; the first ending counts. True if this is it.
    pub(in crate::simulator) fn end(&self, ending: StreamEnd) -> bool {
        let mut now = self.ending.lock();
        if now.is_some() {
            return false;
        }
        let reset = ending == StreamEnd::Reset;
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

    pub(in crate::simulator) fn ending(&self) -> Option<StreamEnd> {
        self.ending.lock().clone()
    }

    pub(in crate::simulator) fn is_ending(&self) -> bool {
        self.ending.lock().is_some()
    }

    pub(in crate::simulator) fn is_live(&self) -> bool {
        self.kind == StreamKind::Live
    }

    /// True if it gets posts of this datacenter.
    pub(in crate::simulator) fn wants(&self, datacenter: usize) -> bool {
        self.datacenter.is_none_or(|own| own == datacenter)
    }

    /// Cuts the stream like this: at once, or in its next post. True if it was not to end already.
    pub(in crate::simulator) fn cut(&self, kind: CutKind) -> bool {
        if !kind.waits() {
            return self.end(StreamEnd::from(kind));
        }
        *self.armed.lock() = Some(kind);
        !self.is_ending()
    }

    /// The cut that waited for the post which is to be sent.
    pub(in crate::simulator) fn take_armed(&self) -> Option<CutKind> {
        self.armed.lock().take()
    }

    /// What comes over this stream from now on.
    pub(in crate::simulator) fn set_flow(&self, flow: Flow) {
        *self.flow.lock() = flow;
        self.wake.notify_one();
    }

    pub(in crate::simulator) fn flow(&self) -> Flow {
        *self.flow.lock()
    }

    /// How much later than they were made posts come from now on.
    pub(in crate::simulator) fn set_lag(&self, lag: Duration) {
        *self.lag.lock() = lag;
        self.wake.notify_one();
    }

    pub(in crate::simulator) fn lag(&self) -> Duration {
        *self.lag.lock()
    }

    /// Waits until the stream is to end, or to carry something else.
    pub(in crate::simulator) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The end of the body has been handed over.
    pub(in crate::simulator) fn finished(&self) {
        self.finished.store(true, Ordering::Relaxed);
        self.socket.end();
    }

    /// Returns true once X has released the stream, though its socket may take a moment: a client that reconnects at
    /// once finds the slot free, unless it stays occupied after an unclean end (`held`).
    pub(super) fn is_over(&self, held: bool) -> bool {
        match &*self.ending.lock() {
            Some(StreamEnd::Clean(_)) => true,
            Some(StreamEnd::Reset | StreamEnd::MidMessage) => !held,
            None => self.finished.load(Ordering::Relaxed),
        }
    }

    /// True if the client has let go of the stream, whether its task has noticed yet or not.
    pub(super) fn is_disconnected(&self) -> bool {
        self.socket.is_left()
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

impl From<CutKind> for StreamEnd {
    fn from(kind: CutKind) -> Self {
        match kind {
            CutKind::CleanEnd => Self::Clean(None),
            CutKind::Reset => Self::Reset,
            CutKind::MidMessage | CutKind::MidPost | CutKind::AfterBrace | CutKind::MidGzip => Self::MidMessage,
        }
    }
}
