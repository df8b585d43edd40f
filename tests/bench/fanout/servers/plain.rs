//! What fan-out costs at the least: one thread, the same bytes to every socket, `writev` of up to 64 KB at a time.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{TcpListener, TcpStream};

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::{listen, text};
use crate::wire::Fault;

/// Bytes of a read of the feed, and of a write to a subscriber: as much as a batch of the gateway.
const CHUNK_BYTES: usize = 64 << 10;
const FEED: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;
const POLLED_EVENTS: usize = 256;

struct Subscriber {
    socket: TcpStream,
    /// The frame it gets next, and how many bytes of it it has.
    next: u64,
    offset: usize,
    blocked: bool,
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    feed: TcpStream,
    unread: Vec<u8>,
    /// Frames that a subscriber still misses, and the number of the first.
    frames: VecDeque<Box<[u8]>>,
    first: u64,
    subscribers: Vec<Subscriber>,
    readable: bool,
}

/// Serves one feed, until it ends.
pub fn serve(feed: u16, subscribers: u16) -> Result<(), Fault> {
    let listener = listen(subscribers)?;
    let feed = listen(feed)?.accept().map_err(text)?.0;
    feed.set_nonblocking(true).and(listener.set_nonblocking(true)).map_err(text)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(text)?;
    epoll::add(&epoll, &feed, EventData::new_u64(FEED), EventFlags::IN | EventFlags::ET).map_err(text)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).map_err(text)?;
    let mut server = Server {
        epoll,
        listener,
        feed,
        unread: Vec::new(),
        frames: VecDeque::new(),
        first: 0,
        subscribers: Vec::new(),
        readable: true,
    };
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        if server.readable && !server.read(&mut buffer)? {
            return Ok(());
        }
        let busy = server.write_all()?;
        server.forget();
        server.poll(busy || server.readable)?;
    }
}

impl Server {
    /// One read; false at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Fault> {
        match rustix::io::read(&self.feed, &mut *buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN) => self.readable = false,
            Err(error) => return Err(text(error)),
        }
        let mut at = 0;
        while let Some(head) = self.unread.get(at..at + 4) {
            let length = u32::from_be_bytes(head.try_into().expect("four bytes are four bytes")) as usize;
            if length == 0 {
                let count = self.first + self.frames.len() as u64;
                rustix::io::write(&self.feed, &count.to_be_bytes()).map_err(text)?;
            } else if let Some(frame) = self.unread.get(at..at + 4 + length) {
                self.frames.push_back(frame.into());
            } else {
                break;
            }
            at += 4 + length;
        }
        self.unread.drain(..at);
        Ok(true)
    }

    /// One write to each that can take it; whether any could take more.
    fn write_all(&mut self) -> Result<bool, Fault> {
        let mut busy = false;
        for subscriber in &mut self.subscribers {
            let from = (subscriber.next - self.first) as usize;
            if subscriber.blocked || from == self.frames.len() {
                continue;
            }
            let mut bytes = 0;
            #[expect(clippy::borrowed_box, reason = "what the iterator gives")]
            let fits = |frame: &&Box<[u8]>| {
                bytes += frame.len();
                bytes <= CHUNK_BYTES + frame.len()
            };
            let mut slices: Vec<IoSlice<'_>> =
                self.frames.range(from..).take_while(fits).map(|frame| IoSlice::new(frame)).collect();
            slices[0].advance(subscriber.offset);
            match rustix::io::writev(&subscriber.socket, &slices) {
                Ok(written) => {
                    let mut left = written + subscriber.offset;
                    while let Some(frame) = self.frames.get((subscriber.next - self.first) as usize)
                        && frame.len() <= left
                    {
                        left -= frame.len();
                        subscriber.next += 1;
                    }
                    subscriber.offset = left;
                    busy |= subscriber.next < self.first + self.frames.len() as u64;
                }
                Err(Errno::AGAIN) => subscriber.blocked = true,
                Err(error) => return Err(text(error)),
            }
        }
        Ok(busy)
    }

    fn forget(&mut self) {
        let end = self.first + self.frames.len() as u64;
        let slowest = self.subscribers.iter().map(|subscriber| subscriber.next).min().unwrap_or(end);
        self.frames.drain(..(slowest - self.first) as usize);
        self.first = slowest;
    }

    fn poll(&mut self, busy: bool) -> Result<(), Fault> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut polled = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; POLLED_EVENTS];
        let count = epoll::wait(&self.epoll, &mut polled[..], busy.then_some(&now)).map_err(text)?;
        for event in &polled[..count] {
            let data = event.data;
            match data.u64() {
                FEED => self.readable = true,
                LISTENER => self.accept()?,
                at => self.subscribers[at as usize].blocked = false,
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Fault> {
        let (socket, _) = self.listener.accept().map_err(text)?;
        socket.set_nonblocking(true).and(socket.set_nodelay(true)).map_err(text)?;
        let at = EventData::new_u64(self.subscribers.len() as u64);
        epoll::add(&self.epoll, &socket, at, EventFlags::OUT | EventFlags::ET).map_err(text)?;
        // An empty frame confirms the subscription.
        rustix::io::write(&socket, &[0; 4]).map_err(text)?;
        let next = self.first + self.frames.len() as u64;
        self.subscribers.push(Subscriber { socket, next, offset: 0, blocked: false });
        Ok(())
    }
}
