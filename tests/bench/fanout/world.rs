//! Isolation of a run: a network namespace with `reno`, a core for the server and one for the load.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
/// Flag of the run inside the namespace: how the namespace was created.
const INSIDE: &str = "--inside=";

/// Prints the fault of a run, if it ended with one.
pub fn exit_code(ended: Result<(), String>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the conditions of the run inside a network namespace, or here if none can be created. Outside, it runs this program
/// again inside of one, and returns the exit code of that run as an error.
pub fn enter(arguments: &[String]) -> Result<World, ExitCode> {
    if let Some(how) = arguments.iter().find_map(|argument| argument.strip_prefix(INSIDE)) {
        return Ok(World::new(how));
    }
    let ways: [(&str, &[&str]); 2] = [("unshare -n as root", &["-n"]), ("unshare -Urn as an ordinary user", &["-Urn"])];
    for (how, flags) in ways {
        let works = Command::new("unshare").args(flags).arg("true").stderr(Stdio::null()).status();
        let Ok(program) = std::env::current_exe() else { break };
        if works.is_ok_and(|status| status.success()) {
            let mut again = Command::new("unshare");
            again.args(flags).arg(program).args(arguments).arg(format!("{INSIDE}{how}"));
            let ended = again.status().ok().and_then(|status| status.code()).unwrap_or(1);
            return Err(ExitCode::from(u8::try_from(ended).unwrap_or(1)));
        }
    }
    Ok(World::new(""))
}

/// The conditions of a run.
pub struct World {
    /// How it is isolated, for the table.
    pub isolation: String,
    pub congestion: String,
    server_core: usize,
    load_core: usize,
    pub cores: usize,
    /// False if servers and load may run on all cores.
    pinned: Cell<bool>,
    dir: tempfile::TempDir,
}

impl World {
    fn new(how: &str) -> Self {
        let limit = getrlimit(Resource::Nofile);
        // A thousand subscribers need as many files here and in the server.
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).ok();
        let isolation = if how.is_empty() { "NOT ISOLATED: no namespace could be made".into() } else { raise(how) };
        let congestion = std::fs::read_to_string(CONGESTION).unwrap_or_default().trim().to_owned();
        let allowed = sched_getaffinity(None).unwrap_or_default();
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let server_core = cores.first().copied().unwrap_or(0);
        let load_core = cores.get(1).copied().unwrap_or(server_core);
        let dir = tempfile::tempdir().expect("a directory for the servers' files");
        let world =
            Self { isolation, congestion, server_core, load_core, cores: cores.len(), pinned: Cell::new(true), dir };
        pin(load_core);
        world
    }

    /// Starts something on the server's core: a process keeps the cores of the thread that started it.
    pub fn on_server_core<T>(&self, start: impl FnOnce() -> T) -> T {
        if !self.pinned.get() {
            return start();
        }
        pin(self.server_core);
        let started = start();
        pin(self.load_core);
        started
    }

    /// From now on, servers and load share all cores, or have one each.
    pub fn set_pinned(&self, pinned: bool) {
        self.pinned.set(pinned);
        if pinned {
            return pin(self.load_core);
        }
        let mut set = CpuSet::new();
        set.set(self.server_core);
        set.set(self.load_core);
        sched_setaffinity(None, &set).ok();
    }

    /// The cores in words.
    pub fn pins(&self) -> String {
        if self.server_core == self.load_core {
            "ONE CORE for both server and load".into()
        } else {
            format!("server on core {}, load on core {} of {}", self.server_core, self.load_core, self.cores)
        }
    }

    /// A fresh directory for a server.
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::remove_dir_all(&dir).ok();
        std::fs::create_dir_all(&dir).expect("a directory can be made in one of our own");
        dir
    }
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).ok();
}

/// Sets loopback up and selects `reno`: BBR's pacing moves results on loopback two to four times between equal runs.
fn raise(how: &str) -> String {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !up.is_ok_and(|status| status.success()) {
        return format!("NOT WORKING: {how}, but `ip link set lo up` failed; install iproute2");
    }
    std::fs::write(CONGESTION, "reno").ok();
    format!("private network namespace ({how})")
}

/// Where `tests/bench/peers.sh` puts what it fetches.
pub fn cache() -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("powerstream-gateway-bench")
}
