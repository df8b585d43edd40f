//! X as bytes on a socket: whatever it answers, it costs only the account that asked, the posts in it are delivered, and the
//! gateway asks again after its backoff. The account `main` reads from an upstream that behaves.

mod answers;
mod bodies;
mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::escape::is_unsafe;
use powerstream_gateway::proto::{GetStreamRequest, SubscribeRequest};

use self::raw::{Answer, Raw};
use super::stage::Stage;
use crate::harness::env::{BEARER, account, client};
use crate::harness::probe::get;
use crate::harness::{Subscriber, TestEnv, filters, latest};

/// The account whose upstream misbehaves.
const EVIL: &str = "evil";
/// Its bearer, which it echoes.
const SECRET: &str = "AAAAevil%2FtokenThat+IsSecret";
/// A connection without a sign of life, and an answer without an end, are left after this.
const STALE_AFTER: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF: Duration = Duration::from_millis(100);
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// The longest time until a case has its outcome.
const OUTCOME_MAX: Duration = Duration::from_secs(60);

/// An answer of the upstream, and what comes of it.
pub struct Case {
    name: &'static str,
    answer: Answer,
    /// The posts that subscribers of the account get, by id.
    posts: Vec<u64>,
    /// What `upstream_last_error` has in it then; empty if nothing is asked of it.
    error: &'static str,
}

impl Case {
    /// It delivers nothing, and is an error that names this.
    fn fails(name: &'static str, answer: impl Into<Answer>, error: &'static str) -> Self {
        Self { name, answer: answer.into(), posts: Vec::new(), error }
    }

    /// It delivers these posts.
    fn delivers(name: &'static str, answer: impl Into<Answer>, posts: &[u64]) -> Self {
        Self { name, answer: answer.into(), posts: posts.to_vec(), error: "" }
    }
}

/// Ids of new posts, as X makes them from the time.
pub struct Ids(u64);

impl Ids {
    fn new() -> Self {
        const EPOCH_MS: i64 = 1_288_834_974_657;
        let millis = u64::try_from(Clock::system().now().0 - EPOCH_MS).expect("a time after 2010");
        Self(millis << 22)
    }

    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    /// The next id, and a line with a post that has it.
    fn post(&mut self) -> (u64, String) {
        let id = self.next();
        (id, post(id))
    }
}

/// A line with a post.
fn post(id: u64) -> String {
    format!("{{\"id_str\":\"{id}\",\"text\":\"a post\",\"matching_rules\":[{{\"id\":1,\"tag\":\"evil\"}}]}}\r\n")
}

fn tune(env: &mut TestEnv, raw: &Raw) {
    let bearer = env.dir().join("evil-bearer");
    std::fs::write(&bearer, SECRET).expect("the directory is ours");
    let mut evil = account(EVIL, &env.x, &bearer);
    evil.url = format!("http://{}", raw.address()).parse().expect("a URL");
    let settings = &mut env.settings;
    settings.accounts.push(evil);
    let upstream = &mut settings.upstream;
    (upstream.stale_after, upstream.response_timeout) = (STALE_AFTER, RESPONSE_TIMEOUT);
    (upstream.http_backoff_step, upstream.http_backoff_max) = (BACKOFF, BACKOFF);
    (upstream.rate_limit_backoff_step, upstream.rate_limit_backoff_max) = (BACKOFF, BACKOFF);
    (upstream.network_backoff_step, upstream.network_backoff_max) = (BACKOFF, BACKOFF);
    upstream.usage_cap_retry = Duration::from_secs(1);
    upstream.message_bytes_max = MESSAGE_BYTES_MAX;
    // Its requests would take answers that are not for them.
    settings.ingest.recovery.enabled = false;
    (settings.ingest.gaps.backfill_minutes_max, settings.ingest.gaps.initial_backfill_minutes) = (0, 0);
    settings.telemetry.log_filter = "debug".into();
    env.x.update_config(|x| x.heartbeat = STALE_AFTER / 4);
}

/// What the gateway reports about the upstream.
async fn last_error(grpc: SocketAddr) -> String {
    let request = GetStreamRequest { account: EVIL.into() };
    match client(grpc).await.get_stream(request).await {
        Ok(answer) => answer.into_inner().stream.map(|info| info.upstream_last_error).unwrap_or_default(),
        Err(status) => format!("no answer: {status}"),
    }
}

/// Gives the answer to the request that waits, and checks the result.
async fn verify(raw: &mut Raw, session: &mut Subscriber, grpc: SocketAddr, case: Case) -> Result<(), String> {
    let Case { answer, posts, error, .. } = case;
    let (clock, before) = (Clock::system(), session.got.len());
    raw.answer(answer);
    let reading = session.read_until(|own| own.got.len() >= before + posts.len());
    if clock.timeout(OUTCOME_MAX, reading).await.is_err() || session.end.is_some() {
        let got = session.got.len() - before;
        return Err(format!("{got} of {} posts came; the session: {:?}", posts.len(), session.end));
    }
    let got: Vec<u64> = session.got[before..].iter().map(|event| event.post_id).collect();
    if got != posts {
        return Err(format!("{got:?}, not {posts:?}"));
    }
    if !posts.is_empty() {
        // Else the gateway has to leave it.
        raw.release();
    }
    if clock.timeout(OUTCOME_MAX, raw.asked()).await.is_err() {
        return Err("the gateway did not ask again".into());
    }
    let message = last_error(grpc).await;
    if message.contains(is_unsafe) {
        return Err(format!("not escaped: {message:?}"));
    }
    if message.contains(error) { Ok(()) } else { Err(format!("{message:?} does not name {error:?}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_attacks_cost_only_their_account() {
    let mut raw = Raw::start().await;
    let mut stage = Stage::open(|env| tune(env, &raw)).await;
    let request = SubscribeRequest { account: EVIL.into(), ..latest(&filters::all()) };
    let mut session = Subscriber::open(&mut stage.gateway.client().await, request).await.expect("it begins");
    raw.asked().await;
    let (grpc, mut ids) = (stage.grpc(), Ids::new());
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = elsewhere.local_addr().expect("it is bound");
    let tables =
        [answers::heads(&mut ids), answers::refusals(target), bodies::codings(&mut ids), bodies::values(&mut ids)];
    for case in tables.into_iter().flatten().chain(answers::texts()).chain(bodies::ends(&mut ids)) {
        let name = case.name;
        stage.play(name, verify(&mut raw, &mut session, grpc, case)).await;
    }
    elsewhere.set_nonblocking(true).expect("it is ours");
    let followed = if elsewhere.accept().is_ok() { Err("a redirect was followed".into()) } else { Ok(()) };
    stage.play("all redirects", async { followed }).await;
    let metrics = get(stage.admin(), "/metrics").await.1;
    let shown = [stage.gateway.log(), format!("{:?}", session.notices), metrics];
    for text in &shown {
        let line = text.lines().find(|line| line.contains(is_unsafe));
        let escaped = line.map_or(Ok(()), |line| Err(format!("not escaped: {line:?}")));
        stage.play("all marks of direction", async { escaped }).await;
    }
    // The first characters of the bearer as well, for a text may be cut in its middle.
    for secret in [SECRET, BEARER, "evil/token", "IsSecret", "AAAAevil"] {
        let at = shown.iter().find_map(|text| Some(&text[text.find(secret)?.saturating_sub(200)..][..300]));
        let kept = at.map_or(Ok(()), |text| Err(format!("{secret} is shown: {text}")));
        stage.play("all echoes", async { kept }).await;
    }
    stage.end("upstream", 80).await;
}
