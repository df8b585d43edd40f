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
    /// What `client-examples/build` leaves behind; further paths are those of older trees.
    built: &'static [&'static str],
    /// Whether that is the program. Otherwise `run.sh` starts it.
    is_program: bool,
}

/// What was measured of a consumer, from the first line that it printed to the last.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Taken {
    pub events_per_second: f64,
    /// Processor time of the consumer.
    pub cpu_us_per_event: f64,
}

/// All of them.
pub const EXAMPLES: [Example; 5] = [
    Example { name: "Go", lang: "go", built: &["bin/consumer"], is_program: false },
    Example {
        name: "Java",
        lang: "java",
        built: &["examples/target/consumer.jar", "target/consumer.jar"],
        is_program: false,
    },
    Example {
        name: "Node",
        lang: "node",
        built: &["dist/examples/consumer/main.js", "dist/src/main.js"],
        is_program: false,
    },
    Example { name: "Python", lang: "python", built: &[".venv/bin/python"], is_program: false },
    // What is tested is a dev build, for the time it takes to build; what is measured is not.
    Example {
        name: "Rust",
        lang: "rust",
        built: &["target/release/consumer", "target/release/examples/consumer"],
        is_program: true,
    },
];
const BUILD_RUST: &str = "cargo build --release --manifest-path examples/Cargo.toml --target-dir target";

/// The tree whose consumers are measured.
pub fn own_tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Example {
    fn command(&self, tree: &Path) -> Result<Command, Fault> {
        let dir = tree.join("client-examples").join(self.lang);
        match self.built.iter().map(|built| dir.join(built)).find(|built| built.exists()) {
            Some(program) if self.is_program => Ok(Command::new(program)),
            Some(_) => Ok(Command::new(dir.join("run.sh"))),
            None if self.is_program => Err(format!("not built: run `{BUILD_RUST}` in {}", dir.display())),
            None => Err(format!("not built: run client-examples/build {} in {}", self.lang, tree.display())),
        }
    }

    /// Why it cannot be measured, if so.
    pub fn missing(&self, tree: &Path) -> Option<Fault> {
        self.command(tree).err()
    }

    /// Measures the consumer of a tree with so many events that wait in the log; with a cursor file it syncs and renames that
    /// file after each batch.
    pub fn measure(&self, world: &World, tree: &Path, posts: u64, cursor_file: bool) -> Result<Taken, Fault> {
        let mut served = Gateway::default().serve(world)?;
        let mut load = Load::new(served.running.feed.take())?;
        without_subscribers(&served.running, &mut load, posts)?;
        let mut command = self.command(tree)?;
        command.args(["--addr", &served.address, "--start", "earliest", "--count", &posts.to_string()]);
        if cursor_file {
            command.arg("--cursor-file").arg(self.cursor_file(world));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut consumer = Process { child: child.map_err(|error| format!("{command:?}: {error}"))? };
        let (lines, taken) = lines(&mut consumer, posts)?;
        let status = consumer.child.wait().map_err(|error| error.to_string())?;
        if !status.success() || lines != posts {
            return Err(format!("it ended with {status} after {lines} lines of {posts}"));
        }
        Ok(taken)
    }

    fn cursor_file(&self, world: &World) -> PathBuf {
        world.directory("cursor").join(self.lang)
    }
}

/// Lines that a program printed until it closed its output, and what it took from the first to the last of so many.
fn lines(consumer: &mut Process, posts: u64) -> Result<(u64, Taken), Fault> {
    let mut output = consumer.child.stdout.take().ok_or("no output")?;
    let mut buffer = vec![0; READ_BYTES];
    let (mut lines, mut began, mut taken) = (0, None, None);
    loop {
        let count = output.read(&mut buffer).map_err(|error| error.to_string())?;
        if count == 0 {
            return taken.map(|taken| (lines, taken)).ok_or_else(|| format!("it ended after {lines} lines of {posts}"));
        }
        let (began_at, cpu_before) = *began.get_or_insert_with(|| (Instant::now(), consumer.cpu()));
        lines += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        if lines == posts {
            // It has its token to store yet, and a call to end.
            let (seconds, cpu) = (began_at.elapsed().as_secs_f64(), consumer.cpu().saturating_sub(cpu_before));
            let events = posts as f64;
            taken =
                Some(Taken { events_per_second: events / seconds, cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events });
        }
    }
}
