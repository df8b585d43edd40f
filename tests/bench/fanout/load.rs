//! The load: one thread that plays posts to a server and reads what all its subscribers get.
//!
//! Closed loop: the player is never more than [`WINDOW`] events ahead of the slowest subscriber, nor of what the server
//! has acknowledged, if it does.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::posts::Posts;
use crate::wire::{Fault, Wire};

/// Events that the player may be ahead of the slowest subscriber: 5.4 MB of posts, well inside the gateway's ring of
/// 64 MiB and the 64 MB that NATS keeps for a client.
pub const WINDOW: u64 = 2_000;
/// A row without progress for so long is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that one read takes at most, and that wait to be written.
const READ_BYTES: usize = 256 << 10;
const WAITING_BYTES_MAX: usize = 256 << 10;
const FEED: u64 = u64::MAX;
const POLLED_EVENTS: usize = 256;

/// The words in which posts are played to a server.
pub trait Frames {
    /// One post.
    fn frame(&mut self, post: &[u8], out: &mut Vec<u8>);

    /// What the server answers.
    fn take(&mut self, _bytes: &[u8], _reply: &mut Vec<u8>) -> Result<(), Fault> {
        Ok(())
    }

    /// Posts that the server has acknowledged, if it does that by itself.
    fn acknowledged(&self) -> Option<u64> {
        None
    }

    /// Asks whether all is taken; false if the protocol has no words for it.
    fn ask(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Whether the server has confirmed so many posts.
    fn taken(&self, posts: u64) -> bool {
        self.acknowledged().is_some_and(|taken| taken >= posts)
    }
}

/// Where posts are played to.
pub struct Feed {
    pub socket: OwnedFd,
    pub frames: Box<dyn Frames>,
}

/// A subscriber.
pub struct Reader {
    pub socket: OwnedFd,
    pub wire: Box<dyn Wire>,
    pub events: u64,
    /// Bytes of posts before its first.
    pub payload_before: u64,
}

impl Reader {
    /// A subscriber that has got nothing yet.
    pub fn new(socket: impl Into<OwnedFd>, wire: impl Wire + 'static) -> Self {
        Self { socket: socket.into(), wire: Box::new(wire), events: 0, payload_before: 0 }
    }
}

/// When a post was played, and how long its deliveries took.
#[derive(Default)]
struct Pace {
    /// Events before the first that is timed.
    from: u64,
    sent: Vec<Instant>,
    took: Vec<Duration>,
    every: Duration,
    /// Posts that are due at once.
    burst: usize,
}

/// The player and the readers.
pub struct Load {
    epoll: OwnedFd,
    feed: Option<Feed>,
    pub readers: Vec<Reader>,
    /// Readers that set the pace; with compression only those know their count before the end.
    counting: usize,
    posts: Posts,
    pub sent: u64,
    payload: u64,
    waiting: Vec<u8>,
    written: usize,
    feed_blocked: bool,
    buffer: Vec<u8>,
    pace: Option<Pace>,
    /// When something last came.
    pub last: Instant,
}

impl Load {
    /// A player to this feed, if it is not the server that plays; no subscriber reads yet.
    pub fn new(feed: Option<Feed>) -> Result<Self, Fault> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
        if let Some(feed) = &feed {
            watch(&epoll, &feed.socket, FEED, EventFlags::IN | EventFlags::OUT | EventFlags::ET)?;
        }
        Ok(Self {
            epoll,
            feed,
            readers: Vec::new(),
            counting: usize::MAX,
            posts: Posts::new(),
            sent: 0,
            payload: 0,
            waiting: Vec::new(),
            written: 0,
            feed_blocked: false,
            buffer: vec![0; READ_BYTES],
            pace: None,
            last: Instant::now(),
        })
    }

    /// Reads what this subscriber gets from now on; or all there is, if its `events` request so.
    pub fn join(&mut self, reader: Reader) -> Result<(), Fault> {
        watch(&self.epoll, &reader.socket, self.readers.len() as u64, EventFlags::IN)?;
        let payload_before = if reader.events > 0 { self.payload } else { 0 };
        self.readers.push(Reader { payload_before, ..reader });
        Ok(())
    }

    /// Lets only the first reader set the pace: of the others it is known at the end what they got.
    pub fn first_counts(&mut self) {
        self.counting = 1;
    }

    /// Reads until every subscription stands.
    pub fn stand(&mut self) -> Result<(), Fault> {
        self.turn_until("the subscriptions stand", 0, |load| load.readers.iter().all(|reader| reader.wire.ready()))
    }

    /// Plays until so many posts are sent in all, and waits until every subscriber has them.
    pub fn play(&mut self, posts: u64) -> Result<(), Fault> {
        self.turn_until("all events are there", posts, |load| load.sent == posts && load.slowest() >= posts)?;
        if self.paced_by().any(|reader| reader.events > posts) {
            return Err("a subscriber got an event twice".into());
        }
        Ok(())
    }

    /// Reads until every subscriber has so many events, without playing.
    pub fn receive(&mut self, events: u64) -> Result<(), Fault> {
        self.turn_until("the events are there", 0, |load| load.slowest() >= events)
    }

    /// Plays without a subscriber; true if the server confirmed all.
    pub fn play_without_subscribers(&mut self, posts: u64) -> Result<bool, Fault> {
        self.turn_until("all posts are written", posts, |load| load.sent == posts && load.waiting.is_empty())?;
        let Some(feed) = &mut self.feed else { return Ok(false) };
        if !feed.frames.ask(&mut self.waiting) && feed.frames.acknowledged().is_none() {
            return Ok(false);
        }
        self.turn_until("all posts are taken", posts, |load| {
            load.feed.as_ref().is_some_and(|feed| feed.frames.taken(posts))
        })?;
        Ok(true)
    }

    /// Plays so many further posts at a fixed rate; how long each delivery took.
    pub fn pace(&mut self, posts: u64, per_second: u64) -> Result<Vec<Duration>, Fault> {
        self.pace_bursts(posts, per_second, 1)
    }

    /// The same, of which so many are due at once.
    pub fn pace_bursts(&mut self, posts: u64, per_second: u64, burst: u32) -> Result<Vec<Duration>, Fault> {
        let every = Duration::from_secs(1) * burst / u32::try_from(per_second).map_err(|_| "too many a second")?;
        self.pace = Some(Pace { from: self.sent, every, burst: burst as usize, ..Pace::default() });
        let played = self.play(self.sent + posts);
        let took = self.pace.take().map(|pace| pace.took).unwrap_or_default();
        played.map(|()| took)
    }

    /// Reads on until nothing has come for so long.
    pub fn quiet(&mut self, long: Duration) -> Result<(), Fault> {
        while self.last.elapsed() < long {
            self.flush()?;
            self.take(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Every subscriber has got each of these events once: by count, and by bytes where the protocol contains them.
    pub fn verify(&mut self, events: u64) -> Result<(), Fault> {
        for (at, reader) in self.readers.iter_mut().enumerate() {
            reader.events += reader.wire.decode()?;
            if reader.events != events {
                return Err(format!("subscriber {at} got {} events of {events}", reader.events));
            }
            let all = self.payload - reader.payload_before;
            if let Some(payload) = reader.wire.payload().filter(|payload| self.feed.is_some() && *payload != all) {
                return Err(format!("subscriber {at} got {payload} bytes of {all}"));
            }
        }
        Ok(())
    }

    fn slowest(&self) -> u64 {
        self.paced_by().map(|reader| reader.events).min().unwrap_or(self.sent)
    }

    fn paced_by(&self) -> impl Iterator<Item = &Reader> {
        self.readers.iter().take(self.counting)
    }

    fn turn_until(&mut self, what: &str, posts: u64, done: impl Fn(&Self) -> bool) -> Result<(), Fault> {
        self.last = Instant::now();
        while !done(self) {
            let waited = self.last.elapsed();
            if waited > PATIENCE {
                let slowest = self.slowest();
                return Err(format!("waited {PATIENCE:?} until {what}: {} sent, {slowest} got", self.sent));
            }
            let longest = self.send(posts)?.unwrap_or(PATIENCE);
            // With the last byte out there may be nothing to wait for.
            if !done(self) {
                self.take(longest)?;
            }
        }
        Ok(())
    }

    /// Writes what may be sent now; how long to wait at the most until there is more, if that is known.
    fn send(&mut self, posts: u64) -> Result<Option<Duration>, Fault> {
        let longest = self.fill(posts);
        self.flush()?;
        Ok(longest)
    }

    /// Waits for something to read, and reads it.
    fn take(&mut self, longest: Duration) -> Result<(), Fault> {
        let timeout = Timespec { tv_sec: longest.as_secs().cast_signed(), tv_nsec: longest.subsec_nanos().into() };
        let mut polled = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; POLLED_EVENTS];
        let count = match epoll::wait(&self.epoll, &mut polled[..], Some(&timeout)) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.to_string()),
        };
        for event in &polled[..count] {
            let (flags, data) = (event.flags, event.data);
            match data.u64() {
                FEED => {
                    self.feed_blocked &= !flags.contains(EventFlags::OUT);
                    self.read_feed()?;
                }
                at => self.read(at as usize)?,
            }
        }
        Ok(())
    }

    /// Frames what may be sent now; how long to wait at the most until there is more, if that is known.
    fn fill(&mut self, posts: u64) -> Option<Duration> {
        let slowest = self.slowest();
        let feed = self.feed.as_mut()?;
        let bound = slowest.min(feed.frames.acknowledged().unwrap_or(u64::MAX)).saturating_add(WINDOW).min(posts);
        while self.sent < bound && self.waiting.len() - self.written < WAITING_BYTES_MAX {
            if let Some(pace) = &mut self.pace {
                let nth = pace.sent.len() / pace.burst;
                let due = pace.sent.first().map(|first| *first + pace.every * (nth as u32));
                let now = Instant::now();
                if let Some(wait) = due.and_then(|due| due.checked_duration_since(now)).filter(|wait| !wait.is_zero()) {
                    return Some(wait);
                }
                pace.sent.push(now);
            }
            let post = self.posts.draw();
            self.payload += post.len() as u64;
            feed.frames.frame(post, &mut self.waiting);
            self.sent += 1;
        }
        // A socket that takes more has to be filled before anything is waited for.
        let more = self.sent < bound && !self.feed_blocked;
        more.then_some(Duration::ZERO)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let Some(feed) = &self.feed else { return Ok(()) };
        while self.written < self.waiting.len() && !self.feed_blocked {
            match rustix::io::write(&feed.socket, &self.waiting[self.written..]) {
                Ok(written) => self.written += written,
                Err(Errno::AGAIN) => self.feed_blocked = true,
                Err(error) => return Err(format!("the feed: {error}")),
            }
        }
        if self.written == self.waiting.len() {
            self.waiting.clear();
            self.written = 0;
        }
        Ok(())
    }

    fn read_feed(&mut self) -> Result<(), Fault> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        loop {
            match rustix::io::read(&feed.socket, &mut self.buffer[..]) {
                Ok(0) => return Err("the server closed the feed".into()),
                Ok(count) => {
                    self.last = Instant::now();
                    feed.frames.take(&self.buffer[..count], &mut self.waiting)?;
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(format!("the feed: {error}")),
            }
        }
    }

    fn read(&mut self, at: usize) -> Result<(), Fault> {
        let reader = &mut self.readers[at];
        let count = match rustix::io::read(&reader.socket, &mut self.buffer[..]) {
            Ok(0) => return Err(format!("subscriber {at}: the server closed the connection")),
            Ok(count) => count,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(format!("subscriber {at}: {error}")),
        };
        self.last = Instant::now();
        let mut reply = Vec::new();
        let got =
            reader.wire.take(&self.buffer[..count], &mut reply).map_err(|fault| format!("subscriber {at}: {fault}"))?;
        if let Some(pace) = &mut self.pace {
            for event in reader.events..reader.events + got {
                let sent = event.checked_sub(pace.from).and_then(|nth| pace.sent.get(nth as usize));
                pace.took.extend(sent.map(|sent| self.last.saturating_duration_since(*sent)));
            }
        }
        reader.events += got;
        // Answers are a few dozen bytes: a socket that nothing was written to takes them whole.
        if !reply.is_empty() && rustix::io::write(&reader.socket, &reply) != Ok(reply.len()) {
            return Err(format!("subscriber {at}: an answer could not be written"));
        }
        Ok(())
    }
}

fn watch(epoll: &OwnedFd, socket: &OwnedFd, at: u64, flags: EventFlags) -> Result<(), Fault> {
    rustix::io::ioctl_fionbio(socket, true)
        .and(epoll::add(epoll, socket, EventData::new_u64(at), flags))
        .map_err(|error| error.to_string())
}
