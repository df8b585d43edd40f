//! A process of the demo.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A process with a log; killed when dropped.
pub(super) struct ChildProcess {
    process: std::process::Child,
    log: PathBuf,
}

impl ChildProcess {
    /// Starts it. Its stderr goes to `log`.
    pub(super) fn spawn(mut command: Command, log: PathBuf) -> anyhow::Result<Self> {
        let program = command.get_program().to_owned();
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        // Ctrl-C in the terminal ends the demo, which ends its processes.
        let command = command.stdin(Stdio::null()).stderr(file).process_group(0);
        let process = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { process, log })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns what it logged, or an error if it has ended.
    pub(super) fn log(&mut self) -> anyhow::Result<String> {
        let log = std::fs::read_to_string(&self.log)?;
        if let Some(status) = self.process.try_wait()? {
            bail!("a process of the demo ended with {status}:\n{log}");
        }
        Ok(log)
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.process), Signal::TERM)?)
    }

    /// True if it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // It may have ended.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
