//! A gateway as a process of its own, its upstream, and a healthy subscriber, next to which attacks are played.
//!
//! All cases of a table share one gateway, and each is checked for itself: a table fails with all its failures. While an
//! attack lasts, posts are sent one after the other; each has to reach the subscriber, exactly, before the next is sent. The
//! time that this takes is compared with that of posts without an attack where latencies are checked (`LATENCY_CHECKED=1`, on
//! a quiet machine).

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::clock::Clock;

use super::{compare, scaled};
use crate::harness::probe::get;
use crate::harness::process::Gateway;
use crate::harness::{Subscriber, TestEnv, filters, latest, posts};

/// The longest time of an attack, and of a post's way to the subscriber.
const ATTACK_MAX: (Duration, Duration) = (Duration::from_secs(180), Duration::from_secs(1_200));
const DELIVERY_MAX: Duration = Duration::from_secs(60);
/// Minimum number of posts during an attack.
const POSTS_MIN: usize = 2;
/// Between two posts: an attack has the machine for itself most of the time.
const PACE: Duration = Duration::from_millis(5);
/// Posts without an attack, with which the others are compared.
const POSTS_ALONE: usize = 20;
const POSTS_ALONE_CHECKED: usize = 400;
/// How much later the 99th percentile may be during attacks, which share the cores with the gateway.
const FACTOR_MAX: f64 = 3.0;
const RESOLUTION: Duration = Duration::from_millis(5);

/// A running gateway and its healthy subscriber.
pub struct Stage {
    /// The upstream of `main`.
    pub env: TestEnv,
    /// The gateway.
    pub gateway: Gateway,
    /// Memory of the gateway before any attack, in bytes.
    pub resident_before: u64,
    neighbour: Subscriber,
    faults: Vec<String>,
    cases: usize,
    alone: Vec<Duration>,
    attacked: Vec<Duration>,
}

fn percentile(latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default()
}

fn is_checked() -> bool {
    std::env::var("LATENCY_CHECKED").is_ok_and(|text| text == "1")
}

impl Stage {
    /// With these changes of the settings.
    pub async fn open(tune: impl FnOnce(&mut TestEnv)) -> Self {
        let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
        tune(&mut env);
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        env.connected().await;
        let neighbour = Self::subscriber(&gateway).await;
        let (faults, alone, attacked) = (Vec::new(), Vec::new(), Vec::new());
        let mut own = Self { env, gateway, resident_before: 0, neighbour, faults, cases: 0, alone, attacked };
        for _ in 0..if is_checked() { POSTS_ALONE_CHECKED } else { POSTS_ALONE } {
            let latency = deliver(&mut own.env, &mut own.neighbour).await.expect("no attack has begun");
            own.alone.push(latency);
        }
        own.resident_before = own.memory().0;
        own
    }

    async fn subscriber(gateway: &Gateway) -> Subscriber {
        let request =
            powerstream_gateway::proto::SubscribeRequest { account: "main".into(), ..latest(&filters::all()) };
        Subscriber::open(&mut gateway.client().await, request).await.expect("the session begins")
    }

    /// Where gRPC is.
    pub fn grpc(&self) -> SocketAddr {
        self.gateway.grpc()
    }

    /// Where probes and metrics are.
    pub fn admin(&self) -> SocketAddr {
        self.gateway.admin()
    }

    /// Memory of the gateway now, and at most so far, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kib.unwrap_or_default() << 10
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Sends so many posts of this size, which the healthy subscriber gets.
    pub async fn flood(&mut self, count: usize, bytes: usize) {
        for number in 0..count {
            let before = self.neighbour.got.len();
            let sent = self.env.x.publish(&posts::large_post(number, bytes)).expect("a post");
            self.neighbour.posts(before + 1).await;
            let faults = compare(&[sent], &self.neighbour.got[before..]);
            assert!(faults.is_empty(), "{faults:?}");
            self.neighbour.got[before].json.clear();
        }
    }

    /// Plays an attack next to the healthy subscriber. Returns what went wrong.
    pub async fn play(&mut self, name: &str, attack: impl Future<Output = Result<(), String>>) {
        let (clock, done) = (Clock::system(), Cell::new(false));
        let attack = async {
            let time = if scaled(0, 1) == 0 { ATTACK_MAX.0 } else { ATTACK_MAX.1 };
            let ended = clock.timeout(time, attack).await;
            done.set(true);
            ended.unwrap_or_else(|_| Err(format!("not over within {time:?}")))
        };
        let (env, neighbour, attacked) = (&mut self.env, &mut self.neighbour, &mut self.attacked);
        let delivery = async {
            let mut posts = 0;
            while posts < POSTS_MIN || !done.get() {
                attacked.push(deliver(env, neighbour).await?);
                posts += 1;
                let _ = clock.timeout(PACE, std::future::pending::<()>()).await;
            }
            Ok::<_, String>(())
        };
        let (attack, delivery) = tokio::join!(attack, delivery);
        self.cases += 1;
        if let Err(fault) = attack {
            self.faults.push(format!("{name}: {fault}"));
        }
        if let Err(fault) = delivery {
            self.faults.push(format!("{name}: the healthy subscriber: {fault}"));
            self.neighbour = Self::subscriber(&self.gateway).await;
        }
    }

    /// The process still does what it should, and all cases held.
    pub async fn end(mut self, class: &str, cases_min: usize) {
        let alive = get(self.admin(), "/livez").await;
        if alive.0 != 200 {
            self.faults.push(format!("/livez: {alive:?}"));
        }
        let log = self.gateway.log();
        self.faults.extend(log.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
        let peak = self.memory().1 >> 20;
        self.gateway.terminate();
        let code = self.gateway.exited().await.code();
        if code != Some(0) {
            self.faults.push(format!("the gateway ended with {code:?}"));
        }
        let [alone, attacked] = [&mut self.alone, &mut self.attacked].map(|latencies| percentile(latencies));
        let cases = self.cases;
        eprintln!("{class}: {cases} cases, p99 {alone:?} alone and {attacked:?} during attacks, {peak} MiB at most");
        if is_checked() && attacked > alone.mul_f64(FACTOR_MAX) + RESOLUTION {
            self.faults.push(format!("p99 {alone:?} alone, {attacked:?} during attacks"));
        }
        assert!(self.cases >= cases_min, "{class}: only {} cases", self.cases);
        assert!(
            self.faults.is_empty(),
            "{class}: {} of {} cases:\n{}",
            self.faults.len(),
            self.cases,
            self.faults.join("\n")
        );
    }
}

/// Sends a post and waits until the subscriber has it, and nothing else.
async fn deliver(env: &mut TestEnv, neighbour: &mut Subscriber) -> Result<Duration, String> {
    let clock = Clock::system();
    let began = clock.moment();
    let sent = env.post_mix(1);
    let before = neighbour.got.len();
    if clock.timeout(DELIVERY_MAX, neighbour.read_until(|own| own.got.len() > before)).await.is_err() {
        return Err(format!("a post did not come within {DELIVERY_MAX:?}"));
    }
    let latency = clock.moment().since(began);
    if let Some(end) = &neighbour.end {
        return Err(format!("its session ended: {end:?}"));
    }
    let faults = compare(&sent, &neighbour.got[before..]);
    neighbour.got.iter_mut().for_each(|event| event.json.clear());
    if faults.is_empty() { Ok(latency) } else { Err(format!("{faults:?}")) }
}
