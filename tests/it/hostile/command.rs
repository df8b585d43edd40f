//! Runs the binary to its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use powerstream_gateway::clock::Clock;

/// The longest that a command may take that should end by itself.
const ENDED_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if it died of a signal.
    pub code: Option<i32>,
    /// All that it printed, to either stream.
    pub text: String,
}

/// The binary with these arguments, in this directory, and without the environment of the test.
pub fn gateway(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_powerstream-gateway"));
    command.args(arguments).current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

/// Runs a command and waits until it ends; it is killed if it does not.
pub async fn run(dir: &Path, mut command: Command) -> Result<Ended, String> {
    let path: PathBuf = dir.join("printed");
    let file = || File::options().create(true).append(true).open(&path).expect("the directory is ours");
    std::fs::write(&path, "").expect("the directory is ours");
    let mut child = command.stdout(file()).stderr(file()).spawn().expect("the binary was built");
    let code = ended(&mut child).await;
    // It may have ended already.
    let _ = (child.kill(), child.wait());
    let text = String::from_utf8_lossy(&std::fs::read(&path).expect("it is ours")).into_owned();
    code.map(|code| Ended { code, text })
}

async fn ended(child: &mut Child) -> Result<Option<i32>, String> {
    let clock = Clock::system();
    let end = clock.moment().plus(ENDED_MAX);
    while clock.moment() < end {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Ok(status.code());
        }
        let _ = clock.timeout(LOOK, std::future::pending::<()>()).await;
    }
    Err(format!("it does not end within {ENDED_MAX:?}"))
}

impl Ended {
    /// It ended with this code and this message, and showed none of these.
    pub fn verify(&self, code: i32, message: &str, hidden: &[&str]) -> Result<(), String> {
        let Self { code: found, text } = self;
        if let Some(shown) = hidden.iter().find(|secret| text.contains(**secret)) {
            return Err(format!("{shown} is shown"));
        }
        if text.contains("panicked") {
            return Err(format!("it panicked: {text}"));
        }
        let is_right = *found == Some(code) && text.contains(message);
        if is_right { Ok(()) } else { Err(format!("{found:?}, not {code} with {message:?}: {}", text.trim())) }
    }
}
