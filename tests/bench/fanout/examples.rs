//! The consumers of `client-examples/`: how fast each takes what is waiting for it, prints it, and keeps its token.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::load::Load;
use crate::measure::without_subscribers;
use crate::peers::Gateway;
use crate::process::Process;
use crate::wire::Fault;
use crate::world::World;

/// Bytes that one read of a consumer's output takes at most.
const READ_BYTES: usize = 256 << 10;

/// The consumer of one language.
pub struct Example {
    pub name: &'static str,
    lang: &'static str,
    /// What `client-examples/build` leaves behind.
    built: &'static str,
    /// The program itself, where it is not what `run.sh` starts.
    program: Option<&'static str>,
}

/// All of them.
pub const EXAMPLES: [Example; 5] = [
    Example { name: "Go", lang: "go", built: "bin/consumer", program: None },
    Example { name: "Java", lang: "java", built: "examples/target/consumer.jar", program: None },
    Example { name: "Node", lang: "node", built: "dist/examples/consumer/main.js", program: None },
    Example { name: "Python", lang: "python", built: ".venv/bin/python", program: None },
    // What is tested is a dev build, for the time it takes to build; what is measured is not.
    Example { name: "Rust", lang: "rust", built: RUST, program: Some(RUST) },
];
const RUST: &str = "target/release/examples/consumer";

impl Example {
    fn command(&self) -> Result<Command, Fault> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("client-examples").join(self.lang);
        if !dir.join(self.built).exists() {
            let release = "run `cargo build --release --example consumer --target-dir target` in client-examples/rust";
            let debug = format!("run client-examples/build {}", self.lang);
            return Err(format!("not built: {}", if self.program.is_some() { release } else { &debug }));
        }
        Ok(Command::new(dir.join(self.program.unwrap_or("run.sh"))))
    }

    /// Why it cannot be measured, if so.
    pub fn missing(&self) -> Option<Fault> {
        self.command().err()
    }

    /// Events a second, from the first line that it prints to the last, out of so many that wait in the log; with a
    /// cursor file it syncs and renames that file after each batch.
    pub fn rate(&self, world: &World, posts: u64, cursor_file: bool) -> Result<f64, Fault> {
        let mut served = Gateway::default().serve(world)?;
        let mut load = Load::new(served.running.feed.take())?;
        without_subscribers(&served.running, &mut load, posts)?;
        let mut command = self.command()?;
        command.args(["--addr", &served.address, "--start", "earliest", "--count", &posts.to_string()]);
        if cursor_file {
            command.arg("--cursor-file").arg(self.cursor_file(world));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut consumer = Process { child: child.map_err(|error| format!("{command:?}: {error}"))? };
        let (lines, seconds) = lines(&mut consumer)?;
        let status = consumer.child.wait().map_err(|error| error.to_string())?;
        if !status.success() || lines != posts {
            return Err(format!("it ended with {status} after {lines} lines of {posts}"));
        }
        Ok(posts as f64 / seconds)
    }

    fn cursor_file(&self, world: &World) -> PathBuf {
        world.directory("cursor").join(self.lang)
    }
}

/// Lines that a program printed until it closed its output, and the time from the first to the last.
fn lines(consumer: &mut Process) -> Result<(u64, f64), Fault> {
    let mut output = consumer.child.stdout.take().ok_or("no output")?;
    let mut buffer = vec![0; READ_BYTES];
    let (mut lines, mut began, mut last) = (0, None, Instant::now());
    loop {
        let count = output.read(&mut buffer).map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok((lines, (last - began.unwrap_or(last)).as_secs_f64()));
        }
        last = Instant::now();
        began.get_or_insert(last);
        lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}
