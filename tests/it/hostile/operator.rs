//! What an operator, a shell or a machine does to the process: ports and directories that are in use, limits, masks,
//! environments, signals, and readers of logs that are gone.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::model::AccountName;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use super::command::{gateway, run};
use super::compare;
use super::stage::Stage;
use crate::harness::env::{BEARER, client};
use crate::harness::{Subscriber, TestEnv, eventually, filters, latest};

/// The longest time until posts come.
const DELIVERY_MAX: Duration = Duration::from_secs(60);

/// A process of the gateway that was started in some odd way; killed when dropped.
struct Odd {
    env: TestEnv,
    child: Child,
    grpc: SocketAddr,
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

impl Odd {
    /// Starts it with this line of a shell, in which "$@" is the command.
    async fn start(line: &str, change: impl FnOnce(&mut Command), tune: impl FnOnce(&mut Settings)) -> Self {
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), tune);
        (env.settings.grpc.address, env.settings.admin.address) = (free_port(), free_port());
        std::fs::write(env.dir().join("gateway.yaml"), env.settings.render()).expect("the directory is ours");
        let program = gateway(env.dir(), &["serve", "--config", "gateway.yaml"]);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line, "sh"]).arg(program.get_program()).args(program.get_args());
        command.current_dir(env.dir()).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        change(&mut command);
        let mut child = command.spawn().expect("there is a shell");
        drop((child.stdout.take(), child.stderr.take()));
        let grpc = env.settings.grpc.address;
        eventually("it listens", async || TcpStream::connect(grpc).await.is_ok()).await;
        env.connected().await;
        Self { env, child, grpc }
    }

    async fn subscribe(&self) -> Result<Subscriber, String> {
        let opened = Subscriber::open(&mut client(self.grpc).await, latest(&filters::all())).await;
        opened.map_err(|status| status.to_string())
    }

    /// Sends posts, which the session gets.
    async fn posts(&mut self, session: &mut Subscriber, count: usize) -> Result<(), String> {
        let (before, sent) = (session.got.len(), self.env.post_mix(count));
        let reading = session.read_until(|own| own.got.len() >= before + count);
        if Clock::system().timeout(DELIVERY_MAX, reading).await.is_err() {
            return Err(format!("{} of {count} posts came", session.got.len() - before));
        }
        let faults = compare(&sent, &session.got[before..]);
        if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?} {:?}", session.end)) }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not zero");
        kill_process(pid, signal).expect("it is our child");
    }

    /// Waits until a signal has stopped each of its threads.
    async fn stopped(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |entry: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        eventually("all its threads are stopped", async || {
            std::fs::read_dir(&tasks).expect("it is our child").flatten().all(is_stopped)
        })
        .await;
    }

    /// Stops it, in order.
    async fn stop(mut self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let mut status = None;
        eventually("it ends", async || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        })
        .await;
        match status.and_then(|status| status.code()) {
            Some(0) => Ok(()),
            other => Err(format!("it ended with {other:?}")),
        }
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// A plain life: it starts, a subscriber gets posts, it stops.
async fn lives(line: &str, change: impl FnOnce(&mut Command), tune: impl FnOnce(&mut Settings)) -> Result<(), String> {
    let mut own = Odd::start(line, change, tune).await;
    let mut session = own.subscribe().await?;
    own.posts(&mut session, 5).await?;
    own.stop().await
}

const PLAIN: &str = "exec \"$@\"";

/// It has 64 files, and 200 connections want one each.
async fn few_files() -> Result<(), String> {
    let mut own = Odd::start("ulimit -n 64; exec \"$@\"", |_| (), |_| ()).await;
    let mut session = own.subscribe().await?;
    own.posts(&mut session, 1).await?;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(own.grpc).await.map_err(|error| error.to_string())?);
    }
    own.posts(&mut session, 20).await?;
    drop(crowd);
    let mut late = own.subscribe().await?;
    own.posts(&mut session, 5).await?;
    late.read_until(|own| own.got.len() >= 5).await;
    own.stop().await
}

/// With a mask that hides nothing.
async fn no_mask() -> Result<(), String> {
    let mut own = Odd::start("umask 0; exec \"$@\"", |_| (), |_| ()).await;
    let mut session = own.subscribe().await?;
    own.posts(&mut session, 20).await?;
    let mut open = Vec::new();
    exposed(&own.env.settings.data_dir, &mut open);
    own.stop().await?;
    if open.is_empty() { Ok(()) } else { Err(format!("others have {open:?}")) }
}

/// What others may read or write below a directory that they may enter.
fn exposed(path: &Path, found: &mut Vec<(PathBuf, u32)>) {
    let metadata = std::fs::symlink_metadata(path).expect("it is ours");
    let mode = metadata.permissions().mode() & 0o777;
    let hidden = if metadata.is_dir() { mode & 0o022 == 0 } else { mode & 0o077 == 0 };
    if !hidden {
        found.push((path.to_owned(), mode));
    }
    if metadata.is_dir() {
        let entries = std::fs::read_dir(path).expect("it is ours");
        entries.for_each(|entry| exposed(&entry.expect("it is ours").path(), found));
    }
}

/// Proxies of the environment would get the bearer.
async fn proxies() -> Result<(), String> {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", proxy.local_addr().expect("it is bound"));
    let names = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];
    let set = |command: &mut Command| {
        command.envs(names.iter().map(|name| (name, &url)));
    };
    lives(PLAIN, set, |_| ()).await?;
    proxy.set_nonblocking(true).expect("it is ours");
    if proxy.accept().is_err() { Ok(()) } else { Err("the proxy was asked".into()) }
}

/// A collector that accepts connections and sends nothing.
async fn silent_collector() -> Result<(), String> {
    let collector = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", collector.local_addr().expect("it is bound"));
    lives(PLAIN, |_| (), |settings| settings.telemetry.otlp_endpoint = Some(url.parse().expect("a URL"))).await
}

/// Stopped as by a debugger or a cgroup, and continued: nothing is lost, and no session ends.
async fn paused() -> Result<(), String> {
    let mut own = Odd::start(PLAIN, |_| (), |_| ()).await;
    let mut session = own.subscribe().await?;
    own.posts(&mut session, 5).await?;
    for _ in 0..3 {
        own.signal(Signal::STOP);
        own.stopped().await;
        let sent = own.env.post_mix(20);
        let before = session.got.len();
        let read = Clock::system().timeout(Duration::from_millis(300), session.posts(before + 20)).await;
        if read.is_ok() {
            return Err("it was not stopped".into());
        }
        own.signal(Signal::CONT);
        session.read_until(|own| own.got.len() >= before + 20).await;
        let faults = compare(&sent, &session.got[before..]);
        if !faults.is_empty() {
            return Err(format!("{faults:?} {:?}", session.end));
        }
    }
    if own.env.x.counters().connects != 1 {
        return Err("it connected again".into());
    }
    own.stop().await
}

/// A second gateway refuses to start next to the first one, which is not affected.
async fn second(
    stage: &SecondPlace,
    message: &str,
    change: impl FnOnce(&mut Settings),
    strict: bool,
) -> Result<(), String> {
    let mut settings = stage.settings.clone();
    change(&mut settings);
    std::fs::write(stage.dir.join("second.yaml"), settings.render()).expect("the directory is ours");
    let mut arguments = vec!["serve", "--config", "second.yaml"];
    arguments.extend(strict.then_some("--strict"));
    run(&stage.dir, gateway(&stage.dir, &arguments)).await?.verify(1, message, &[BEARER])
}

/// What a second gateway is started with.
struct SecondPlace {
    settings: Settings,
    dir: PathBuf,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_processes_serve_or_refuse() {
    let mut stage = Stage::open(|_| ()).await;
    let (grpc, admin, first) = (stage.grpc(), stage.admin(), stage.env.settings.data_dir.clone());
    let dir = stage.env.dir().join("second");
    std::fs::create_dir(&dir).expect("the directory is ours");
    let mut settings = stage.env.settings.clone();
    settings.data_dir = dir.join("data");
    let place = SecondPlace { settings, dir };

    stage.play("gRPC port in use", second(&place, "cannot listen", |own| own.grpc.address = grpc, false)).await;
    stage.play("admin port in use", second(&place, "cannot listen", |own| own.admin.address = admin, false)).await;
    let elsewhere = |own: &mut Settings| own.grpc.address = "192.0.2.1:1".parse().expect("an address");
    let allowed = |own: &mut Settings| {
        elsewhere(own);
        own.grpc.allow_unauthenticated = true;
    };
    stage.play("an address of another machine", second(&place, "cannot listen", allowed, false)).await;
    stage
        .play("data directory in use", second(&place, "in use by another process", |own| own.data_dir = first, false))
        .await;
    let unusable = |own: &mut Settings| {
        let mut other = own.accounts[0].clone();
        other.name = AccountName::new("other").expect("a name");
        other.url = "http://127.0.0.1:1".parse().expect("a URL");
        own.accounts.push(other);
        let log = own.data_dir.join("accounts").join("other");
        std::fs::create_dir_all(log.parent().expect("it has one")).expect("the directory is ours");
        std::fs::write(log, "a file").expect("the directory is ours");
    };
    stage.play("--strict with an unusable account", second(&place, "other", unusable, true)).await;
    assert_eq!(stage.env.x.connections().live_max_ever, 1, "none of them connected upstream");

    stage.play("few files", few_files()).await;
    stage.play("no mask", no_mask()).await;
    stage.play("a mask that hides all", lives("umask 777; umask 077; exec \"$@\"", |_| (), |_| ())).await;
    stage.play("proxies of the environment", proxies()).await;
    stage.play("a collector that does not answer", silent_collector()).await;
    stage.play("stopped and continued", paused()).await;
    stage.play("no standard streams", lives("exec \"$@\" <&- >&- 2>&-", |_| (), |_| ())).await;
    // Its other end is closed at once.
    let unread = |command: &mut Command| {
        command.stderr(Stdio::piped()).stdout(Stdio::piped());
    };
    stage.play("a reader of the log that is gone", lives(PLAIN, unread, |_| ())).await;
    let odd = |command: &mut Command| {
        command.env("RUST_LOG", "[{=,").env("TZ", "Nowhere/None").env("LANG", "\u{7f}").env("RUST_BACKTRACE", "x");
        command.env("HOME", "/nowhere").env("TMPDIR", "/nowhere");
    };
    stage.play("a malformed environment", lives(PLAIN, odd, |_| ())).await;
    stage.play("ignored signals of its parent", lives("trap '' INT HUP PIPE USR1; exec \"$@\"", |_| (), |_| ())).await;
    stage.end("process", 15).await;
}
