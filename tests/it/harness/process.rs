//! The gateway as a process of its own, so that it can be killed.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use powerstream_gateway::config::Settings;
use powerstream_gateway::telemetry::LogFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::env::{Client, client};
use super::eventually;

/// Lines of the log that a failed test shows.
const LOG_LINES_SHOWN: usize = 30;

/// A process of the gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    log: PathBuf,
    grpc: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Gateway {
    /// Starts it, and waits until it listens.
    pub async fn start(settings: &Settings, dir: &Path) -> Self {
        let mut gateway = Self::spawn(settings, dir);
        gateway.listening().await;
        gateway
    }

    /// Waits until it listens.
    pub async fn listening(&mut self) {
        eventually("the gateway listens", async || self.listens()).await;
    }

    /// The same; what it printed, if it ended before.
    pub async fn try_start(settings: &Settings, dir: &Path) -> Result<Self, String> {
        let mut gateway = Self::spawn(settings, dir);
        let mut status = None;
        eventually("the gateway listens, or ends", async || {
            status = gateway.child.try_wait().expect("it is our child");
            status.is_some() || gateway.listens()
        })
        .await;
        match status {
            None => Ok(gateway),
            Some(status) => Err(format!("it ended with {status}: {}", gateway.log())),
        }
    }

    /// Starts it with these flags in addition to its configuration, and waits until it listens.
    pub async fn spawn_listening(settings: &Settings, dir: &Path, flags: &[&str]) -> Self {
        let mut gateway = Self::spawn_with(settings, dir, flags);
        eventually("the gateway listens", async || gateway.listens()).await;
        gateway
    }

    /// Starts it.
    pub fn spawn(settings: &Settings, dir: &Path) -> Self {
        Self::spawn_with(settings, dir, &[])
    }

    /// Starts it with these flags in addition to its configuration.
    pub fn spawn_with(settings: &Settings, dir: &Path, flags: &[&str]) -> Self {
        Self::spawn_in(settings, dir, flags, &[])
    }

    /// Starts it with these flags, and these variables in addition to those of the test.
    pub fn spawn_in(settings: &Settings, dir: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut settings = settings.clone();
        settings.telemetry.log_format = LogFormat::Json;
        let (config, log) = (dir.join("gateway.yaml"), dir.join("gateway.log"));
        std::fs::write(&config, settings.render()).expect("the directory is ours");
        let child = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"))
            .args(["serve", "--config"])
            .arg(&config)
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("the directory is ours"))
            .spawn()
            .expect("the binary was built");
        Self { child, log, grpc: None, admin: None }
    }

    fn listens(&mut self) -> bool {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            panic!("it ended with {status}:\n{}", self.log());
        }
        for line in self.lines().filter(|line| line["message"] == "listening") {
            let address = |key: &str| line[key].as_str().and_then(|address| address.parse().ok());
            (self.grpc, self.admin) = (address("grpc"), address("admin"));
        }
        self.grpc.is_some() && self.admin.is_some()
    }

    /// Returns its output.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is UTF-8")
    }

    /// Its log, line by line.
    fn lines(&self) -> impl Iterator<Item = Value> + use<> {
        let lines: Vec<_> = self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter()
    }

    /// The log lines with this message.
    pub fn messages(&self, message: &str) -> Vec<Value> {
        self.lines().filter(|line| line["message"] == message).collect()
    }

    /// The newest of these messages in its log.
    pub fn newest_of(&self, messages: &[&str]) -> Option<String> {
        let found = self.lines().filter_map(|line| line["message"].as_str().map(str::to_owned));
        found.filter(|message| messages.contains(&message.as_str())).last()
    }

    /// The number of log lines of this level.
    pub fn levels(&self, level: &str) -> usize {
        self.lines().filter(|line| line["level"] == level).count()
    }

    /// Where gRPC is.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc.expect("it listened")
    }

    /// Where probes and metrics are.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("it listened")
    }

    /// A client.
    pub async fn client(&self) -> Client {
        client(self.grpc()).await
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL; returns when it is dead of that.
    pub async fn kill(mut self) {
        self.child.kill().expect("it is our child");
        let status = self.exited().await;
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it did not die of the signal: {status}");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Any signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not zero");
        kill_process(pid, signal).expect("it is our child");
    }

    /// How it ended, once it did.
    pub async fn exited(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", async || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // The directory may be gone; a second panic would abort all tests.
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(LOG_LINES_SHOWN).collect();
            eprintln!("last lines of the gateway's log, newest first:\n{}", last.join("\n"));
        }
    }
}
