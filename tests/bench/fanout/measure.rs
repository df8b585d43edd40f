//! One figure: a system started fresh, its subscribers, warmed up, measured, checked.

use std::time::{Duration, Instant};

use crate::load::{Load, Reader};
use crate::peers::{Gateway, Peer, Running};
use crate::plan::Plan;
use crate::process::{Process, free_port};
use crate::wire::Fault;
use crate::wire::plain::Plain;
use crate::world::World;

/// Subscribers of the latency rows, and posts a second.
pub const LATENCY_SUBSCRIBERS: usize = 10;
pub const LATENCY_RATE: u64 = 1_000;
/// Posts that latency is not taken of: caches, allocators and windows settle.
const LATENCY_WARM: u64 = 500;
/// Posts that fill the ring of 64 MiB, and some more.
const RING_POSTS: u64 = 30_000;
/// Silence after which nothing more is on its way.
const SILENCE: Duration = Duration::from_millis(50);

/// What was measured of one system with so many subscribers.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Cell {
    pub events: u64,
    pub deliveries: u64,
    pub seconds: f64,
    /// Processor time of the server.
    pub cpu_seconds: f64,
    /// Its resident memory: at the end, and at most.
    pub rss_bytes: u64,
    pub rss_bytes_max: u64,
}

impl Cell {
    /// Processor time in microseconds for each event.
    pub fn per_event(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.events as f64
    }

    /// The same for each delivery, all in all.
    pub fn whole(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.deliveries as f64
    }

    /// The same without the cost of the events without subscribers.
    pub fn fan_out(&self, per_event_alone: f64) -> f64 {
        self.whole() - per_event_alone * self.events as f64 / self.deliveries as f64
    }

    /// Deliveries a second.
    pub fn rate(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }
}

/// Subscribes so many; all subscriptions stand.
fn subscribed(running: &mut Running, subscribers: usize) -> Result<Load, Fault> {
    let mut load = Load::new(running.feed.take())?;
    for nth in 0..subscribers {
        load.join((running.subscribe)(&mut running.process, nth)?)?;
    }
    load.stand()?;
    Ok(load)
}

/// Plays as fast as the slowest subscriber reads.
pub fn fan_out(world: &World, peer: &dyn Peer, subscribers: usize, plan: &Plan) -> Result<Cell, Fault> {
    let mut running = peer.start(world)?;
    let mut load = subscribed(&mut running, subscribers)?;
    let warm = plan.warm(subscribers);
    let began = Instant::now();
    load.play(warm)?;
    let events = plan.events(subscribers, warm as f64 / began.elapsed().as_secs_f64());
    measured(&running.process, &mut load, events)
}

fn measured(process: &Process, load: &mut Load, events: u64) -> Result<Cell, Fault> {
    let (all, subscribers) = (load.sent + events, load.readers.len() as u64);
    let (before, began) = (process.cpu(), Instant::now());
    load.play(all)?;
    let cell = cell(process, events, subscribers, before, began.elapsed());
    load.verify(all)?;
    Ok(cell)
}

fn cell(process: &Process, events: u64, subscribers: u64, before: Duration, took: Duration) -> Cell {
    let cpu = process.cpu().saturating_sub(before);
    let (rss_bytes, rss_bytes_max) = process.memory();
    Cell {
        events,
        deliveries: events * subscribers,
        seconds: took.as_secs_f64(),
        cpu_seconds: cpu.as_secs_f64(),
        rss_bytes,
        rss_bytes_max,
    }
}

/// Plays without subscribers: what an event costs by itself.
pub fn alone(world: &World, peer: &dyn Peer, plan: &Plan) -> Result<Cell, Fault> {
    let mut running = peer.start(world)?;
    let mut load = subscribed(&mut running, 0)?;
    without_subscribers(&running, &mut load, plan.warm(0))?;
    let events = plan.events(0, f64::INFINITY);
    let (before, began) = (running.process.cpu(), Instant::now());
    without_subscribers(&running, &mut load, events)?;
    Ok(cell(&running.process, events, 1, before, began.elapsed()))
}

/// Plays so many posts and waits until the server has taken them.
pub fn without_subscribers(running: &Running, load: &mut Load, posts: u64) -> Result<(), Fault> {
    let all = load.sent + posts;
    if load.play_without_subscribers(all)? {
        return Ok(());
    }
    running.process.rest();
    let counted = running.counted.as_ref().ok_or("the server does not report what it accepted")?()?;
    if counted == all { Ok(()) } else { Err(format!("{counted} posts were taken of {all}")) }
}

/// As [`fan_out`], with compression: the first subscriber decodes as it reads, the others after the measuring.
pub fn compressed(world: &World, peer: &dyn Peer, subscribers: usize, plan: &Plan) -> Result<Cell, Fault> {
    let mut running = peer.start(world)?;
    let mut load = subscribed(&mut running, subscribers)?;
    load.first_counts();
    let warm = plan.warm_compressed(subscribers);
    let began = Instant::now();
    load.play(warm)?;
    load.quiet(SILENCE)?;
    let rate = warm as f64 / (load.last - began).as_secs_f64();
    let events = plan.events_compressed(subscribers, rate);
    let (before, began) = (running.process.cpu(), Instant::now());
    load.play(warm + events)?;
    load.quiet(SILENCE)?;
    let cell = cell(&running.process, events, subscribers as u64, before, load.last - began);
    load.verify(warm + events)?;
    Ok(cell)
}

/// How long each delivery took at a fixed rate, from the player's write to the subscriber's read.
pub fn latencies(world: &World, peer: &dyn Peer, posts: u64) -> Result<Vec<Duration>, Fault> {
    let mut running = peer.start(world)?;
    let mut load = subscribed(&mut running, LATENCY_SUBSCRIBERS)?;
    load.pace(LATENCY_WARM, LATENCY_RATE)?;
    let took = load.pace(posts, LATENCY_RATE)?;
    load.verify(LATENCY_WARM + posts)?;
    Ok(took)
}

/// The same with nothing between: the player, on the server's core, writes to every subscriber.
pub fn floor(world: &World, posts: u64) -> Result<Vec<Duration>, Fault> {
    let (port, all) = (free_port()?, LATENCY_WARM + posts);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = std::process::Command::new(program);
    command.args(["server", "floor"]);
    command.args([port.to_string(), LATENCY_SUBSCRIBERS.to_string(), all.to_string()]);
    command.args([LATENCY_RATE.to_string(), "1".into()]);
    let mut process = Process::server(world, &mut command)?;
    let mut load = Load::new(None)?;
    for _ in 0..LATENCY_SUBSCRIBERS {
        load.join(Reader::new(process.connect(port)?, Plain::stamped()))?;
    }
    load.receive(all)?;
    load.verify(all)?;
    let took = load.readers.iter_mut().map(|reader| reader.wire.latencies());
    // The first of all is the greeting.
    Ok(took.flat_map(|took| took.into_iter().skip(1 + LATENCY_WARM as usize)).collect())
}

/// Memory of a gateway whose ring is full, with a thousand subscribers that get all they can read.
pub fn saturated(world: &World, subscribers: usize, plan: &Plan) -> Result<Cell, Fault> {
    let mut running = Gateway::default().start(world)?;
    let mut load = subscribed(&mut running, 0)?;
    without_subscribers(&running, &mut load, RING_POSTS)?;
    for nth in 0..subscribers {
        let reader = (running.subscribe)(&mut running.process, nth)?;
        load.join(Reader { events: load.sent, ..reader })?;
    }
    load.stand()?;
    measured(&running.process, &mut load, plan.saturated())
}

/// Events a second that one subscriber gets from the journal, and from the ring behind it. Another has read all before it,
/// as there are posts before the first that counts elsewhere; what of the journal is kept in memory is less by far.
pub fn replay(world: &World, posts: u64) -> Result<(f64, f64), Fault> {
    let mut running = Gateway { earliest: true, ..Gateway::default() }.start(world)?;
    let mut load = subscribed(&mut running, 0)?;
    without_subscribers(&running, &mut load, posts)?;
    load.join((running.subscribe)(&mut running.process, 0)?)?;
    load.receive(posts)?;
    let began = Instant::now();
    load.join((running.subscribe)(&mut running.process, 0)?)?;
    let cold = posts - RING_POSTS;
    load.receive(cold)?;
    let from_journal = cold as f64 / began.elapsed().as_secs_f64();
    load.receive(posts)?;
    let in_all = posts as f64 / began.elapsed().as_secs_f64();
    load.verify(posts)?;
    Ok((from_journal, in_all))
}

/// A client program with this many subscribers, that counts by itself.
pub fn client(world: &World, command: &mut std::process::Command, events: u64, warm: u64) -> Result<Cell, Fault> {
    let subscribers = LATENCY_SUBSCRIBERS as u64;
    let mut served = Gateway::default().serve(world)?;
    command.args([&served.address, &subscribers.to_string(), &(warm + events).to_string()]);
    command.stdout(std::process::Stdio::piped());
    let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let mut client = Process { child };
    let output = client.child.stdout.take().ok_or("no output")?;
    let mut load = Load::new(served.running.feed.take())?;
    load.join(Reader::new(output, crate::wire::lines::Lines::default()))?;
    load.stand()?;
    load.play(warm)?;
    let process = &served.running.process;
    let (before, began) = (process.cpu(), Instant::now());
    load.play(warm + events)?;
    let cell = cell(process, events, subscribers, before, began.elapsed());
    let status = client.child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(cell) } else { Err(format!("the client ended: {status}")) }
}
