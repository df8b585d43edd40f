//! Effects of the examples with a database: exactly once, over kills of the example, the gateway and the database.
//!
//! The table `posts` of an example has no unique key, so that a repeated effect is seen. Numbers of faults are small by default:
//! `EFFECT_KILLS=20,5,3` sets those of the example, the gateway and the database, `EFFECT_OUTAGE_SECONDS=30` how long the
//! database is down.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::simulator::SentPost;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::database::{Database, Kind};
use super::env::{TAGS, filter, tune};
use super::example::Example;
use super::language::Language;
use super::network::Network;
use crate::harness::ground_truth::expected;
use crate::harness::process::Gateway;
use crate::harness::{Drill, TestEnv, eventually};

/// Posts drawn per second; posts that match a rule are sent.
const RATE: f64 = 200.0;
/// Kills of the example, the gateway and the database.
const KILLS: [usize; 3] = [4, 2, 1];
/// How long the database is down.
const OUTAGE_SECONDS: u64 = 3;
/// Seed of the order of faults.
const SEED: u64 = 11;
/// Gateway seconds in a second, for an outage of many hours.
const MINUTE_A_SECOND: f64 = 60.0;

/// An example with its database, the wire, the gateway as a process, and X.
struct Service {
    example: Example,
    database: Database,
    network: Network,
    gateway: Option<Gateway>,
    env: TestEnv,
}

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Example,
    Gateway,
    Database,
}

fn example(language: Language, kind: Kind, dir: &Path, gateway: &str, database: &Database) -> Example {
    Example::named(language, dir, kind.example())
        .with_variable("GATEWAY", &format!("http://{gateway}"))
        .with_variable("CONSUMER", "effects")
        .with_variable("FILTER_TAGS", &TAGS.join(","))
        .with_variable("DATABASE", &database.url())
}

impl Service {
    /// All runs but the example; posts flow. `None`, and a report, if the database is not installed.
    async fn new(language: Language, kind: Kind) -> Option<Self> {
        let env = TestEnv::without_gateway(Clock::system(), |config| config.rate = RATE, tune);
        let database = match Database::new(kind, env.dir()).await {
            Ok(database) => database,
            Err(reason) => {
                language.skip(&format!("{}: {reason}", kind.example()));
                return None;
            }
        };
        let gateway = Gateway::start(&env.settings, env.dir()).await;
        env.connected().await;
        let network = Network::start(gateway.grpc()).await;
        let example = example(language, kind, env.dir(), &format!("127.0.0.1:{}", network.port()), &database);
        Some(Self { example, database, network, gateway: Some(gateway), env })
    }

    /// Rows of `posts`; 0 while there is no such table.
    fn effects(&self) -> u64 {
        let rows = self.database.query("SELECT count(*) FROM posts").unwrap_or_default();
        rows.first().map_or(0, |row| row[0].parse().expect("a number"))
    }

    /// Waits until so many more effects are there.
    async fn more_effects(&mut self, count: u64) {
        let until = self.effects() + count;
        let name = self.example.name();
        eventually(&format!("{name}: effects continue"), async || self.effects() >= until).await;
    }

    async fn more_posts(&self, count: u64) {
        let until = self.env.x.truth_len() + count;
        eventually("posts continue", async || self.env.x.truth_len() >= until).await;
    }

    async fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Example => {
                self.example.kill().await;
                self.example.start();
            }
            Victim::Gateway => {
                self.gateway.take().expect("it runs").kill().await;
                self.more_posts(20).await;
                let gateway = Gateway::start(&self.env.settings, self.env.dir()).await;
                self.network.point_to(gateway.grpc());
                self.gateway = Some(gateway);
                self.env.connected().await;
            }
            Victim::Database => {
                self.database.take_down().await;
                self.more_posts(20).await;
                self.database.restore().await;
            }
        }
    }

    /// Stops the posts, and waits until all that match are in `posts` or `dead_letters`; compares them with what X has sent.
    async fn verify(&mut self, label: &str, dead: &[u64]) {
        self.env.x.pause();
        let due = loop {
            let truth = self.env.x.sent_posts();
            let due: Vec<SentPost> =
                expected(&truth, &filter()).into_iter().filter(|post| !dead.contains(&post.post_id.0)).collect();
            eventually(&format!("{label}: all effects are there"), async || self.effects() >= due.len() as u64).await;
            // One that was under way when they stopped may come late.
            if self.env.x.truth_len() == truth.len() as u64 {
                break due;
            }
        };
        let rows = self.database.query("SELECT post_id, count(*), max(event) FROM posts GROUP BY post_id");
        let rows = rows.expect("the database is up");
        let mut effects: HashMap<u64, (u64, String)> = rows
            .into_iter()
            .map(|row| (row[0].parse().expect("an id"), (row[1].parse().expect("a number"), row[2..].join("\t"))))
            .collect();
        for post in &due {
            let (count, event) = effects.remove(&post.post_id.0).unwrap_or_default();
            assert_eq!(count, 1, "{label}: effects of post {}", post.post_id.0);
            assert_eq!(event.as_bytes(), post.json, "{label}: the payload is another");
        }
        assert!(effects.is_empty(), "{label}: {} effects of posts that are not due", effects.len());
        eprintln!("{label}: {} effects, each once", due.len());
        let rejected = self.database.query("SELECT post_id FROM dead_letters").expect("the database is up");
        assert_eq!(
            rejected.concat(),
            dead.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "{label}: dead letters"
        );
        self.env.x.resume();
    }

    async fn stop(&mut self) {
        self.example.terminate();
        self.example.exited().await;
    }
}

/// Numbers of kills, and the seconds of an outage.
fn size() -> ([usize; 3], Duration) {
    let kills = std::env::var("EFFECT_KILLS").map_or(KILLS, |text| {
        let numbers: Vec<usize> = text.split(',').map(|number| number.parse().expect("EFFECT_KILLS=N,N,N")).collect();
        numbers.try_into().expect("EFFECT_KILLS=N,N,N")
    });
    let seconds = std::env::var("EFFECT_OUTAGE_SECONDS").map_or(OUTAGE_SECONDS, |text| text.parse().expect("seconds"));
    (kills, Duration::from_secs(seconds))
}

pub async fn effects_over_kills_are_exactly_once(language: Language, kind: Kind) {
    let Some(mut service) = Service::new(language, kind).await else { return };
    let ([examples, gateways, databases], _) = size();
    let mut victims = [vec![Victim::Example; examples], vec![Victim::Gateway; gateways]].concat();
    victims.resize(examples + gateways + databases, Victim::Database);
    let mut rng = StdRng::seed_from_u64(SEED);
    victims.shuffle(&mut rng);
    service.example.start();
    for victim in victims {
        service.more_effects(rng.random_range(1..60)).await;
        service.kill(victim).await;
    }
    service.more_effects(1).await;
    service.verify(&format!("{} {kind:?}, {examples} {gateways} {databases} kills", language.name()), &[]).await;
    service.stop().await;
}

pub async fn failing_database_is_waited_for(language: Language, kind: Kind) {
    let Some(mut service) = Service::new(language, kind).await else { return };
    service.example.start();
    service.more_effects(20).await;
    service.database.take_down().await;
    let before = service.effects();
    let (clock, (_, outage)) = (Clock::system(), size());
    let until = clock.moment().plus(outage);
    eventually("the outage passes", async || clock.moment() >= until).await;
    assert_eq!(service.effects(), before, "the database took nothing meanwhile");
    service.database.restore().await;
    service.verify(&format!("{} {kind:?}, database down for {outage:?}", language.name()), &[]).await;
    assert_eq!(service.example.lives.len(), 1, "the example has lived on");
    service.stop().await;
}

pub async fn poison_post_becomes_dead_letter(language: Language, kind: Kind) {
    let Some(mut service) = Service::new(language, kind).await else { return };
    service.more_posts(100).await;
    let due = expected(&service.env.x.sent_posts(), &filter());
    let poison = due[due.len() / 2].post_id.0;
    service.example = service.example.with_variable("FAIL_ON", &poison.to_string());
    service.example.start();
    service.more_effects(due.len() as u64).await;
    service.verify(&format!("{} {kind:?}, a poison post", language.name()), &[poison]).await;
    service.stop().await;
}

pub async fn unrecoverable_gap_is_stored(language: Language, kind: Kind) {
    let mut drill = Drill::new(MINUTE_A_SECOND, |x| x.recovery_delay = Duration::from_secs(5), |_| ()).await;
    drill.away(Duration::from_secs(30 * 3_600), 0.01).await;
    drill.settle().await;
    let dir = drill.env.dir().to_owned();
    let database = match Database::new(kind, &dir).await {
        Ok(database) => database,
        Err(reason) => return language.skip(&reason),
    };
    let address = drill.env.app().grpc_address().to_string();
    let mut example = example(language, kind, &dir, &address, &database);
    example.start();
    let lost = || {
        let rows = database.query("SELECT state, start_time, end_time FROM gaps").unwrap_or_default();
        let rows = rows.into_iter().filter(|row| row[0].to_lowercase().contains("unrecoverable"));
        let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}"));
        rows.map(|row| time(&row[2]).as_second() - time(&row[1]).as_second()).collect::<Vec<_>>()
    };
    eventually("the gap is stored", async || lost().iter().any(|seconds| *seconds > 5 * 3_600)).await;
    eprintln!("{} {kind:?}: lost seconds of stored gaps: {:?}", language.name(), lost());
    example.terminate();
    example.exited().await;
}
