//! Databases of the examples: a SQLite file, or a PostgreSQL server that a test can kill.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::harness::eventually;

/// PostgreSQL refuses to run as root: it runs with another user id then.
const UNPRIVILEGED: u32 = 65_534;
/// Reads a SQLite file: columns separated by a tab.
const READ_SQLITE: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
for row in db.execute(sys.argv[2]):
    print('\\t'.join('' if value is None else str(value) for value in row))
";
/// Locks a SQLite file against writers until its input ends.
const LOCK_SQLITE: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
db.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()
";

/// Kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    PostgreSql,
}

impl Kind {
    /// Name of the example.
    pub fn example(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::PostgreSql => "postgresql",
        }
    }
}

/// A database; gone when dropped.
pub enum Database {
    /// File, and the process that locks it while the database is down.
    Sqlite(PathBuf, Option<Child>),
    /// Server.
    PostgreSql(Server),
}

/// A PostgreSQL server on loopback, with its files in a directory of its own.
pub struct Server {
    programs: PathBuf,
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Database {
    /// Makes an empty one; the reason, if its programs are not installed.
    pub async fn new(kind: Kind, dir: &Path) -> Result<Self, String> {
        match kind {
            Kind::Sqlite if run("python3", &["-c", "import sqlite3"]).is_err() => {
                Err("python3 with its module sqlite3 is not installed".into())
            }
            Kind::Sqlite => Ok(Self::Sqlite(dir.join("posts.db"), None)),
            Kind::PostgreSql => Ok(Self::PostgreSql(Server::new().await?)),
        }
    }

    /// Value of DATABASE.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path, _) => path.display().to_string(),
            Self::PostgreSql(server) => server.url(),
        }
    }

    /// Rows of a query, their columns as text; an error while the database, or the table, is not there.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        tokio::task::block_in_place(|| {
            let text = match self {
                Self::Sqlite(path, _) => run("python3", &["-c", READ_SQLITE, &path.display().to_string(), sql]),
                Self::PostgreSql(server) => server.query(sql),
            }?;
            Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
        })
    }

    /// Kills the server, or locks the file.
    pub async fn take_down(&mut self) {
        match self {
            Self::Sqlite(path, lock) => {
                let mut child = Command::new("python3")
                    .args(["-c", LOCK_SQLITE])
                    .arg(&*path)
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("it was found before");
                let mut line = String::new();
                let output = child.stdout.take().expect("it is piped");
                let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line);
                assert!(read.is_ok() && line == "locked\n", "the file is locked: {line:?}");
                *lock = Some(child);
            }
            Self::PostgreSql(server) => server.kill(),
        }
    }

    /// Starts the server again, or unlocks the file.
    pub async fn restore(&mut self) {
        match self {
            Self::Sqlite(_, lock) => {
                let mut child = lock.take().expect("it is locked");
                drop(child.stdin.take());
                assert!(child.wait().expect("it is our child").success(), "it was locked until now");
            }
            Self::PostgreSql(server) => server.start().await,
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Sqlite(_, Some(lock)) = self {
            // It may have ended already.
            let _ = lock.kill();
            let _ = lock.wait();
        }
    }
}

impl Server {
    async fn new() -> Result<Self, String> {
        let programs = programs().ok_or("PostgreSQL is neither in /usr/lib/postgresql nor in PATH")?;
        let dir = TempDir::new().expect("a directory");
        if getuid().is_root() {
            chown(dir.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("root may");
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let mut own = Self { programs, dir, port, child: None };
        let data = own.data();
        let arguments = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"];
        let made = tokio::task::block_in_place(|| own.command("initdb").args(arguments).arg(data).output());
        let made = made.expect("initdb is there");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        own.start().await;
        Ok(own)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if getuid().is_root() {
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn query(&self, sql: &str) -> Result<String, String> {
        let psql = self.programs.join("psql");
        run(&psql.display().to_string(), &["-X", "-q", "-A", "-t", "-F", "\t", "-c", sql, &self.url()])
    }

    /// Waits until it answers. After a kill, its old processes may keep it from starting for a moment.
    async fn start(&mut self) {
        eventually("PostgreSQL answers", async || {
            let ended = self.child.as_mut().is_none_or(|child| child.try_wait().expect("it is our child").is_some());
            if ended {
                let (data, port) = (self.data(), self.port.to_string());
                let arguments = ["-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"];
                let mut command = self.command("postgres");
                let spawned = command.arg("-D").arg(data).arg("-p").arg(port).args(arguments).spawn();
                self.child = Some(spawned.expect("postgres is there"));
            }
            tokio::task::block_in_place(|| self.query("SELECT 1")).is_ok()
        })
        .await;
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is our child");
        let status = child.wait().expect("it is our child");
        assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "it died of something else: {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Immediate shutdown: its processes end with it. It may have ended already.
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::QUIT);
            }
            let _ = child.wait();
        }
    }
}

/// Directory with the programs of the newest PostgreSQL.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = found.into_iter().rev().chain(std::env::split_paths(&path));
    let is_whole = |dir: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|program| dir.join(program).is_file());
    candidates.into_iter().find(is_whole)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() { Ok(stdout) } else { Err(stderr) }
}
