//! An example as a process, over all its lives.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::language::{Language, examples};
use super::printed::Printed;
use crate::harness::eventually;

/// Variables that would change what a test runs.
const VARIABLES: [&str; 16] = [
    "GATEWAY_ADDR",
    "GATEWAY_TLS",
    "GATEWAY_CA_FILE",
    "GATEWAY_CERT_FILE",
    "GATEWAY_KEY_FILE",
    "GATEWAY_TOKEN_FILE",
    "ANY_OF",
    "CURSOR_FILE",
    "EXAMPLE",
    "GATEWAY",
    "BEARER_FILE",
    "ACCOUNT",
    "CONSUMER",
    "FILTER_TAGS",
    "FAIL_ON",
    "DATABASE",
];

/// An example with its cursor file; a process of it is killed when dropped.
pub struct Example {
    language: Language,
    dir: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    /// What each life printed, oldest first.
    pub lives: Vec<Printed>,
}

impl Example {
    /// Not started yet; it keeps its files in this directory, and requests a heartbeat every second.
    pub fn new(language: Language, dir: &Path, addr: &str) -> Self {
        let (flags, environment) = (Vec::new(), vec![("GATEWAY_ADDR".into(), addr.into())]);
        let own = Self { language, dir: dir.into(), flags, environment, child: None, lives: Vec::new() };
        let cursor = own.cursor_file().display().to_string();
        own.with(&["--heartbeat", "1", "--cursor-file", &cursor])
    }

    /// An example with a database in place of the cursor file, configured by variables alone.
    pub fn named(language: Language, dir: &Path, name: &str) -> Self {
        let environment = vec![("EXAMPLE".into(), name.into())];
        Self { language, dir: dir.into(), flags: Vec::new(), environment, child: None, lives: Vec::new() }
    }

    /// With these flags too.
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// With this variable too.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Its cursor file.
    pub fn cursor_file(&self) -> PathBuf {
        self.dir.join("cursor")
    }

    /// The token in its cursor file; `None` if there is no file.
    pub fn cursor(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.cursor_file()).ok()?;
        let token = text.strip_suffix('\n').unwrap_or_else(|| panic!("{text:?} is no whole cursor"));
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?} is no token");
        Some(token.into())
    }

    /// Puts a token where it looks for one.
    pub fn set_cursor(&self, token: &str) {
        std::fs::write(self.cursor_file(), format!("{token}\n")).expect("the directory is ours");
    }

    /// Starts a life.
    pub fn start(&mut self) {
        let number = self.lives.len();
        let file = |name: &str| self.dir.join(format!("{name}.{number}"));
        let create = |path: PathBuf| File::create(path).expect("the directory is ours");
        let (out, err) = (file("stdout"), file("stderr"));
        self.spawn(create(out.clone()).into(), create(err.clone()).into());
        self.lives.push(Printed::new(out, err));
    }

    /// The same, with an output that accepts no bytes.
    pub fn start_into_a_full_disk(&mut self) {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let err = self.dir.join(format!("stderr.{}", self.lives.len()));
        self.spawn(full.into(), File::create(&err).expect("the directory is ours").into());
        self.lives.push(Printed::new(self.dir.join("nothing"), err));
    }

    fn spawn(&mut self, stdout: Stdio, stderr: Stdio) {
        assert!(self.child.is_none(), "it runs");
        let mut command = Command::new(examples().join("run"));
        // Some keep files with relative names.
        command.arg(self.language.name()).args(&self.flags).current_dir(&self.dir);
        for name in VARIABLES {
            command.env_remove(name);
        }
        // Loopback is no matter of a proxy.
        command.envs(self.environment.iter().cloned()).env("no_proxy", "localhost,127.0.0.1");
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        self.child = Some(child.expect("client-examples/run is there"));
    }

    /// What this life has printed so far.
    pub fn life(&mut self) -> &mut Printed {
        self.lives.last_mut().expect("it was started")
    }

    /// What it was started with, for messages.
    pub fn name(&self) -> &'static str {
        self.language.name()
    }

    /// Waits until this life reports this on stderr.
    pub async fn reports(&mut self, words: &str) {
        self.until(&format!("it reports {words:?}"), |life| life.stderr().contains(words)).await;
    }

    /// Waits until this life has printed so many lines.
    pub async fn prints(&mut self, count: usize) {
        self.until(&format!("it prints {count} lines"), |life| life.lines().len() >= count).await;
    }

    /// Waits until this holds of what this life has printed.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Printed) -> bool) {
        let name = self.name();
        eventually(&format!("{name}: {what}"), async || {
            if holds(self.life()) {
                return true;
            }
            if let Some(status) = self.child.as_mut().expect("it runs").try_wait().expect("it is our child") {
                // What it printed last may have come between the two looks.
                assert!(holds(self.life()), "{name}: {what}: it ended with {status}:\n{}", self.life().stderr());
            }
            holds(self.life())
        })
        .await;
    }

    /// SIGKILL; returns when it is dead of that.
    pub async fn kill(&mut self) {
        self.child.as_mut().expect("it runs").kill().expect("it is our child");
        let status = self.exited().await;
        assert_eq!(
            status.signal(),
            Some(Signal::KILL.as_raw()),
            "{}: it died of something else: {status}",
            self.name()
        );
        self.life().killed = true;
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = self.child.as_ref().expect("it runs").id();
        let pid = Pid::from_raw(i32::try_from(id).expect("a pid")).expect("not zero");
        kill_process(pid, Signal::TERM).expect("it is our child");
    }

    /// How it ended, once it did.
    pub async fn exited(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let mut status = None;
        eventually("the example ends", async || {
            status = child.try_wait().expect("it is our child");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    /// Waits for its end, which must have this code.
    pub async fn ends_with(&mut self, code: i32) {
        let status = self.exited().await;
        let name = self.name();
        assert_eq!(status.code(), Some(code), "{name}: {status}:\n{}", self.life().stderr());
        let last = self.life().stderr().lines().last().unwrap_or_default().to_owned();
        assert_eq!(code != 0, last.starts_with("error: "), "{name}: it ended with {code} and {last:?}");
    }

    /// SIGTERM, and the end in order that follows.
    pub async fn stop(&mut self) {
        // A process that has not run yet dies of the signal: it handles signals from its first line of output on.
        self.until("it has begun", |life| !life.stderr().is_empty() || !life.lines().is_empty()).await;
        self.terminate();
        self.ends_with(0).await;
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if let Some(life) = self.lives.last().filter(|_| std::thread::panicking()) {
            eprintln!("last output of {}:\n{}", self.language.name(), life.stderr());
        }
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
