//! One figure: a system started fresh, warmed up, measured at a fixed rate, checked.

use std::time::{Duration, Instant};

use crate::load::{Load, Reader};
use crate::peers::{Filters, Peer, scrape};
use crate::process::{Process, free_port};
use crate::setups::{Plan, Setup};
use crate::stages::StageTimes;
use crate::wire::Fault;
use crate::wire::plain::Plain;
use crate::world::World;

/// Posts that no figure is of: caches, allocators and windows settle.
const WARM: u64 = 300;

/// A round of a row.
pub struct Sample {
    /// How long each delivery took, ascending, in microseconds.
    pub micros: Vec<f64>,
    /// Processor time of the server's process in microseconds for each delivery; no figure of the floor.
    pub cpu: Option<f64>,
    /// Posts a second that were played.
    pub rate: f64,
    /// Time of the stages, if the server has the probe.
    pub stages: Option<StageTimes>,
}

impl Sample {
    fn of(took: Vec<Duration>) -> Self {
        let mut micros: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e6).collect();
        micros.sort_unstable_by(f64::total_cmp);
        Self { micros, cpu: None, rate: 0.0, stages: None }
    }

    /// Returns a percentile; 1 is the maximum.
    pub fn at(&self, share: f64) -> f64 {
        let nth = (self.micros.len() as f64 * share) as usize;
        self.micros.get(nth.min(self.micros.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

fn posts(setup: &Setup, plan: &Plan) -> u64 {
    let burst = u64::from(setup.burst);
    ((setup.per_second as f64 * plan.seconds) as u64).max(100).next_multiple_of(burst)
}

/// From the player's write to the subscriber's read.
pub fn peer(world: &World, peer: &dyn Peer, setup: &Setup, plan: &Plan) -> Result<Sample, Fault> {
    world.set_pinned(setup.pinned);
    let mut running = peer.start(world)?;
    let mut load = Load::new(running.feed.take())?;
    for nth in 0..setup.subscribers {
        load.join((running.subscribe)(&mut running.process, nth)?)?;
    }
    load.stand()?;
    if setup.filters == Filters::Narrow {
        load.first_counts();
    }
    let posts = posts(setup, plan);
    // At most a second of it, at a low rate.
    let warm = WARM.min(setup.per_second.max(50)).next_multiple_of(u64::from(setup.burst));
    load.pace_bursts(warm, setup.per_second, setup.burst)?;
    let stages = || running.admin.map(scrape).transpose().map(|text| text.and_then(|text| StageTimes::parse(&text)));
    let before = stages()?;
    let (cpu, began) = (running.process.cpu(), Instant::now());
    let took = load.pace_bursts(posts, setup.per_second, setup.burst)?;
    let (cpu, seconds) = (running.process.cpu().saturating_sub(cpu), began.elapsed().as_secs_f64());
    let after = stages()?;
    verify(&mut load, setup, warm + posts)?;
    let stages = before.zip(after).map(|(before, after)| after.since(&before));
    let cpu = Some(cpu.as_secs_f64() * 1e6 / took.len().max(1) as f64);
    Ok(Sample { cpu, rate: posts as f64 / seconds, stages, ..Sample::of(took) })
}

fn verify(load: &mut Load, setup: &Setup, posts: u64) -> Result<(), Fault> {
    if setup.filters == Filters::Narrow {
        if let Some(other) = load.readers.iter().skip(1).position(|reader| reader.events > 0) {
            return Err(format!("subscriber {} got an event that does not match", other + 1));
        }
        load.readers.truncate(1);
    }
    load.verify(posts)
}

/// The same with nothing between: the player, on the server's core, writes to every subscriber.
pub fn floor(world: &World, setup: &Setup, plan: &Plan) -> Result<Sample, Fault> {
    world.set_pinned(setup.pinned);
    let (port, posts) = (free_port()?, posts(setup, plan));
    let warm = WARM.min(setup.per_second).next_multiple_of(u64::from(setup.burst));
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = std::process::Command::new(program);
    command.args(["server", "floor", &port.to_string(), &setup.subscribers.to_string()]);
    command.args([(warm + posts).to_string(), setup.per_second.to_string(), setup.burst.to_string()]);
    let mut process = Process::server(world, &mut command)?;
    let mut load = Load::new(None)?;
    for _ in 0..setup.subscribers {
        load.join(Reader::new(process.connect(port)?, Plain::stamped()))?;
    }
    load.receive(warm + posts)?;
    load.verify(warm + posts)?;
    // The first of all is the greeting.
    let took = load.readers.iter_mut().map(|reader| reader.wire.latencies());
    let took = took.flat_map(|took| took.into_iter().skip(1 + warm as usize)).collect();
    Ok(Sample { rate: setup.per_second as f64, ..Sample::of(took) })
}
