//! Starts the simulator.

use std::net::TcpListener;
use std::sync::Arc;

use thiserror::Error;

use super::config::Config;
use super::handle::SimulatorHandle;
use super::producer::{self, PostSource};
use super::rules::RuleError;
use super::server;
use super::state::SimulatorState;
use crate::clock::Clock;
use crate::task::{ExitPolicy, TaskGroup};

/// The stand-in for X.
pub struct Simulator;

/// A simulator that cannot start.
#[derive(Debug, Error)]
pub enum SimulatorStartError {
    /// The posts cannot be read, or the listener cannot be used.
    #[error("cannot {0}: {1}")]
    Io(&'static str, std::io::ErrorKind),
    /// An initial rule is wrong.
    #[error("a rule of the configuration is wrong: {0}")]
    Rule(RuleError),
    /// There are none, or more than an id can name.
    #[error("there must be 1 to 32 datacenters")]
    Datacenters,
}

impl Simulator {
    /// Starts on a listener that the caller has bound. It runs until the shutdown of the tasks.
    pub fn start(
        config: Config,
        listener: TcpListener,
        clock: Clock,
        tasks: &TaskGroup,
    ) -> Result<SimulatorHandle, SimulatorStartError> {
        if !(1..=DATACENTERS_MAX).contains(&config.datacenters.len()) {
            return Err(SimulatorStartError::Datacenters);
        }
        let source =
            PostSource::open(&config).map_err(|error| SimulatorStartError::Io("read the posts", error.kind()))?;
        let io = |error: std::io::Error| SimulatorStartError::Io("use the listener", error.kind());
        listener.set_nonblocking(true).map_err(io)?;
        let addr = listener.local_addr().map_err(io)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(io)?;
        let state = Arc::new(SimulatorState::new(config, addr, clock, tasks.clone()));
        state.count(|counters| counters.lines_left_out = source.left_out());
        let handle = SimulatorHandle::of(state.clone());
        handle.add_rules(&state.config().rules).map_err(SimulatorStartError::Rule)?;
        tasks.spawn("simulator.accept", ExitPolicy::StopProcess, server::serve(state.clone(), listener));
        tasks.spawn("simulator.pace", ExitPolicy::Continue, producer::run(state, source));
        Ok(handle)
    }
}

/// Datacenters that an id can name.
const DATACENTERS_MAX: usize = 32;
