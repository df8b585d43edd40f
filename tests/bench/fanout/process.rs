//! A server as a process of its own, on the server's core: started, measured, stopped by its id.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::wire::Fault;
use crate::world::World;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// How long one attempt to connect takes: a server whose backlog is full lets it wait, and the kernel for minutes.
const CONNECT: Duration = Duration::from_secs(2);

/// A running process; it ends with this value.
pub struct Process {
    pub child: Child,
}

impl Process {
    /// Starts a server, on the server's core.
    pub fn server(world: &World, command: &mut Command) -> Result<Self, Fault> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = world.on_server_core(|| command.spawn()).map_err(|error| format!("{command:?}: {error}"))?;
        Ok(Self { child })
    }

    /// Processor time of all its threads. `schedstat` counts nanoseconds on a core; a thread that ended is not counted
    /// any more, and no server here ends a busy one.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let nanos = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory in bytes: now, and at most.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or_default() << 10
        };
        (bytes("VmRSS:"), bytes("VmHWM:"))
    }

    /// Waits until it uses no processor time to speak of.
    pub fn rest(&self) {
        let deadline = Instant::now() + START;
        let mut before = self.cpu();
        loop {
            pause(Duration::from_millis(20));
            let now = self.cpu();
            if now.saturating_sub(before) < Duration::from_micros(500) || Instant::now() > deadline {
                return;
            }
            before = now;
        }
    }

    /// Connects to a port of this process as soon as it listens.
    pub fn connect(&mut self, port: u16) -> Result<TcpStream, Fault> {
        let deadline = Instant::now() + START;
        loop {
            match TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    return Ok(stream);
                }
                Err(error) if Instant::now() > deadline => return Err(format!("port {port}: {error}")),
                Err(_) => pause(Duration::from_millis(5)),
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended: {status}"));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port that was free a moment ago; in a namespace of our own no other process takes it.
pub fn free_port() -> Result<u16, Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// A moment's wait.
pub fn pause(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a benchmark waits on the real clock")]
    std::thread::sleep(duration);
}
