//! What a request of each kind costs the threads that others wait for, at its worst that is allowed.
//!
//! `cargo bench --bench requests`; `-- 20` behind it for 20 requests of each kind instead of 100. The gateway runs in this
//! process on a runtime of one thread, which is all that serves sessions: the processor time of that thread (schedstat) is
//! read around each request. So is that of the account's own threads (sequencer, maintenance, reader). Work on blocking threads
//! is bounded (`listen.lookups_max`) and only the caller waits for it. Nothing is asserted.
#![allow(clippy::print_stdout)]

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use futures::StreamExt;
use powerstream_gateway::app::App;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::{AccountSettings, Settings};
use powerstream_gateway::hub::Hub;
use powerstream_gateway::model::{
    AccountName, Gap, GapCause, GapEvidence, GapId, GapState, PostId, TimeInterval, TimeRange, UnixMillis,
};
use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use powerstream_gateway::proto::resolve_position_request::Target;
use powerstream_gateway::proto::stream_service_client::StreamServiceClient;
use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::{
    CancelRecoveryJobRequest, CreateRecoveryJobRequest, Earliest, GetCoverageRequest, ListGapsRequest,
    ListRecoveryJobsRequest, ListTagsRequest, ResolvePositionRequest, SubscribeRequest, TagFilter,
    TimeInterval as ProtoInterval,
};
use powerstream_gateway::secret;
use powerstream_gateway::simulator::{Config, ErrorResponse, Simulator, SimulatorHandle};
use powerstream_gateway::task::TaskGroup;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

/// Requests of each kind, and as many less before, which do not count.
const REQUESTS: usize = 100;
const WARM_UP: usize = 5;
/// Tags that the account tracks, all of the longest kind: `hub.tags_tracked_max`.
const TAGS: usize = 10_000;
const TAG_BYTES: usize = 505;
/// Rules of a post from X.
const RULES: usize = 1_000;
/// Gaps: `hub.closed_gaps_max`, half of them open.
const GAPS: u64 = 10_000;
/// Recovery jobs: `ingest.recovery.finished_jobs_max`.
const JOBS: i64 = 1_000;

fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("client").enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut bench = Bench::start(asked.unwrap_or(REQUESTS)).await;
        bench.prepare().await;
        println!(
            "| request | processor time of the sessions' thread: median | most | of the account's threads: most |"
        );
        println!("|---|---|---|---|");
        bench.subscribe().await;
        bench.streams().await;
        bench.recovery().await;
        bench.services().await;
        bench.admin().await;
    });
}

struct Bench {
    requests: usize,
    x: SimulatorHandle,
    hub: std::sync::Arc<Hub>,
    channel: Channel,
    admin: SocketAddr,
    /// Id of the thread that serves sessions.
    thread: String,
    _dir: tempfile::TempDir,
    _tasks: TaskGroup,
}

/// Processor time of a thread of this process in nanoseconds.
fn processor_time(thread: &str) -> u64 {
    let schedstat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    schedstat.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0)
}

/// The threads that write, keep and read the account's log.
fn account_threads() -> Vec<String> {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let names = ["sequencer", "maintenance", "upstream sessio"];
    let is_one =
        |path: &Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| names.contains(&name.trim()));
    let own = threads.filter(|thread| is_one(&thread.path()));
    own.filter_map(|thread| thread.file_name().into_string().ok()).collect()
}

/// Until no thread of the gateway has anything left to do.
async fn rest() {
    Clock::system().sleep(Duration::from_millis(3)).await;
}

impl Bench {
    async fn start(requests: usize) -> Self {
        let (clock, tasks) = (Clock::system(), TaskGroup::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let x =
            Simulator::start(Config { rate: 0.0, ..Config::default() }, listener, clock, &tasks).expect("it starts");
        let dir = tempfile::tempdir().expect("a directory");
        let settings = settings(&x, dir.path());
        let (started, starts) = mpsc::sync_channel(1);
        let gateway = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().thread_name("blocking").enable_all().build();
            let thread = std::fs::read_link("/proc/thread-self").expect("Linux");
            let thread = thread.file_name().and_then(|name| name.to_str()).expect("a number").to_owned();
            runtime.expect("a runtime").block_on(async {
                let app = App::start(settings).await.expect("it starts");
                let hub = app.gateway().account("main").expect("it is open").hub.clone();
                started.send((app.grpc_address(), app.admin_address(), hub, thread)).expect("the caller waits");
                std::future::pending::<()>().await;
            });
        };
        std::thread::Builder::new().name("gateway".into()).spawn(gateway).expect("a thread");
        let (grpc, admin, hub, thread) = starts.recv().expect("it starts");
        let endpoint = Endpoint::from_shared(format!("http://{grpc}")).expect("a URL");
        let channel = endpoint.connect().await.expect("it listens");
        while x.connections().live == 0 {
            rest().await;
        }
        Self { requests, x, hub, channel, admin, thread, _dir: dir, _tasks: tasks }
    }

    /// Fills the account up to its bounds.
    async fn prepare(&mut self) {
        for post in 0..TAGS / RULES {
            let rule = |n| format!(r#"{{"tag":"{:0TAG_BYTES$}","id":{n}}}"#, post * RULES + n);
            let rules: Vec<_> = (1..=RULES).map(rule).collect();
            self.x.publish(&format!(r#"{{"text":"x","matching_rules":[{}]}}"#, rules.join(","))).expect("a post");
        }
        for _ in 0..GAPS {
            self.x.publish(r#"{"text":"x","matching_rules":[{"tag":"cats","id":7}]}"#).expect("a post");
        }
        while self.hub.next() <= GAPS + (TAGS / RULES) as u64 {
            rest().await;
        }
        let now = Clock::system().now();
        for number in 0..GAPS {
            let from = now.minus(Duration::from_secs(80_000 - 8 * number));
            let (cause, state) =
                (GapCause::Disconnected, [GapState::Recovering, GapState::Recovered][number as usize % 2]);
            let window = TimeInterval { from, to: Some(from.plus(Duration::from_secs(60))) };
            let (evidence, progress) = (GapEvidence::None, Some(from));
            let gap = Gap { id: GapId(1_000 + number), window, cause, state, evidence, progress, recovered: number };
            self.hub.gaps().record(number + 1, &gap);
        }
        self.x.refuse_until_cleared(ErrorResponse::too_many_connections());
        for number in 0..JOBS {
            let from = now.minus(Duration::from_secs(80_000));
            let job = self.create(TimeRange::new(from, from.plus(Duration::from_secs(60 * (1 + number as u64))))).await;
            let request = CancelRecoveryJobRequest { job_id: job, ..Default::default() };
            self.recoveries().cancel_recovery_job(request).await.expect("it waits");
        }
    }

    async fn create(&self, span: TimeRange) -> String {
        let [from, to] = [span.from, span.to].map(seconds);
        let request = CreateRecoveryJobRequest {
            account: String::new(),
            interval: Some(ProtoInterval { start_time: from, end_time: to }),
        };
        let created = self.recoveries().create_recovery_job(request).await.expect("the budget is large");
        created.into_inner().job.map(|job| job.job_id).unwrap_or_default()
    }

    fn recoveries(&self) -> RecoveryServiceClient<Channel> {
        RecoveryServiceClient::new(self.channel.clone())
    }

    fn client(&self) -> StreamServiceClient<Channel> {
        StreamServiceClient::new(self.channel.clone()).max_decoding_message_size(4 << 20)
    }

    /// Prints what requests of one kind cost.
    async fn row<F: Future<Output = ()>>(&self, name: &str, mut request: impl FnMut(usize) -> F) {
        let accounts = account_threads();
        let own = || accounts.iter().map(|thread| processor_time(thread)).sum::<u64>();
        let mut costs = Vec::new();
        let mut account_most = 0;
        for number in 0..self.requests + WARM_UP {
            rest().await;
            let before = (processor_time(&self.thread), own());
            request(number).await;
            rest().await;
            if number >= WARM_UP {
                costs.push(processor_time(&self.thread) - before.0);
                account_most = account_most.max(own() - before.1);
            }
        }
        costs.sort_unstable();
        let ms = |nanos: u64| format!("{:.2} ms", nanos as f64 / 1e6);
        let (median, most) = (costs[costs.len() / 2], costs[costs.len() - 1]);
        println!("| {name} | {} | {} | {} |", ms(median), ms(most), ms(account_most));
    }

    async fn subscribe(&self) {
        let terms = |number: usize, bytes: usize, mark: &str| {
            let term = |n: usize| format!("{mark}{:0width$}", number * RULES + n, width = bytes - mark.len());
            (0..RULES).map(term).collect::<Vec<_>>()
        };
        let any_of = |any_of: Vec<String>| TagFilter { any_of, ..TagFilter::default() };
        let unknown = |number| any_of(terms(number, 42, "u"));
        let prefixes = |number| any_of(terms(number, 250, "p").into_iter().map(|term| term + "*").collect());
        let all = |number| TagFilter { all_of: terms(number, 255, "a"), ..TagFilter::default() };
        let none = |number| TagFilter { none_of: terms(number, 255, "n"), ..TagFilter::default() };
        let known = |_| any_of((0..500).map(|n| format!("{n:0TAG_BYTES$}")).collect());
        let rules = |number: usize| {
            let rule_ids = (0..RULES).map(|n| (number * RULES + n + 1) as u64).collect();
            TagFilter { rule_ids, ..TagFilter::default() }
        };
        let nothing = |_| TagFilter::default();
        let earliest = Some(Start::Earliest(Earliest {}));
        let back = Some(Start::Lookback(prost_types::Duration { seconds: 40_000, nanos: 0 }));
        self.opened("Subscribe, no filter, 5,000 open gaps", &nothing, None).await;
        self.opened("Subscribe, 1,000 unknown tags", &unknown, None).await;
        self.opened("Subscribe, 500 known tags of 505 bytes", &known, None).await;
        self.opened("Subscribe, 1,000 prefixes of 250 bytes", &prefixes, None).await;
        self.opened("Subscribe, 1,000 terms in all_of, 255 bytes each", &all, None).await;
        self.opened("Subscribe, 1,000 terms in none_of, 255 bytes each", &none, None).await;
        self.opened("Subscribe, 1,000 rule ids", &rules, None).await;
        self.opened("Subscribe from the oldest record, 1,000 prefixes, up to the first frames", &prefixes, earliest)
            .await;
        self.opened("Subscribe from 11 hours ago, before the log", &nothing, back).await;
    }

    /// Opens a session, reads its first frame, and leaves.
    async fn opened(&self, name: &str, filter: &impl Fn(usize) -> TagFilter, start: Option<Start>) {
        let open = |number| {
            let (mut client, start) = (self.client(), start.clone());
            let filter = Some(filter(number));
            async move {
                let request = SubscribeRequest { filter, start, ..SubscribeRequest::default() };
                let mut frames = client.subscribe(request).await.expect("it is served").into_inner();
                frames.next().await.expect("the start").expect("no error");
            }
        };
        self.row(name, open).await;
    }

    async fn streams(&self) {
        self.row("ListTags, a page of the 10,000 tags of 505 bytes", |_| async {
            let answer = self
                .client()
                .list_tags(ListTagsRequest { page_size: 1_000, ..Default::default() })
                .await
                .expect("served");
            assert!(answer.into_inner().tags.len() > 400);
        })
        .await;
        let newest = self.x.sent_posts().last().map_or(PostId(1), |post| post.post_id);
        for (name, target) in [
            ("ResolvePosition, a time", Target::Time(seconds(Clock::system().now()).expect("a time"))),
            ("ResolvePosition, a post", Target::PostId(newest.0)),
            ("ResolvePosition, an unknown post", Target::PostId(newest.0 + 1)),
        ] {
            self.row(name, |_| async {
                let request = ResolvePositionRequest { target: Some(target), ..Default::default() };
                drop(self.client().resolve_position(request).await);
            })
            .await;
        }
    }

    async fn recovery(&self) {
        self.row("ListGaps, a page of 1,000 of 10,000", |_| async {
            let request = ListGapsRequest { page_size: 1_000, ..Default::default() };
            assert_eq!(self.recoveries().list_gaps(request).await.expect("served").into_inner().gaps.len(), 1_000);
        })
        .await;
        self.row("ListGaps, the last page: none in this state", |_| async {
            let request = ListGapsRequest { page_size: 1_000, states: vec![5], ..Default::default() };
            assert_eq!(self.recoveries().list_gaps(request).await.expect("served").into_inner().gaps.len(), 0);
        })
        .await;
        self.row("ListRecoveryJobs, a page of 1,000 with 10,000 gaps", |_| async {
            let request = ListRecoveryJobsRequest { page_size: 1_000, ..Default::default() };
            assert!(!self.recoveries().list_recovery_jobs(request).await.expect("served").into_inner().jobs.is_empty());
        })
        .await;
        let now = Clock::system().now();
        self.row("GetCoverage, 24 h with 5,000 open gaps", |_| async {
            let [from, to] = [now.minus(Duration::from_secs(86_000)), now].map(seconds);
            let request = GetCoverageRequest {
                account: String::new(),
                interval: Some(ProtoInterval { start_time: from, end_time: to }),
            };
            drop(self.recoveries().get_coverage(request).await.expect("served"));
        })
        .await;
        let from = now.minus(Duration::from_secs(70_000));
        self.row("CreateRecoveryJob, the same interval", |_| async {
            self.create(TimeRange::new(from, from.plus(Duration::from_secs(600)))).await;
        })
        .await;
        self.row("CancelRecoveryJob, one that has ended", |_| async {
            let request = CancelRecoveryJobRequest { job_id: "j7".into(), ..Default::default() };
            drop(self.recoveries().cancel_recovery_job(request).await);
        })
        .await;
    }

    async fn services(&self) {
        self.row("health Check", |_| async {
            let check = HealthClient::new(self.channel.clone()).check(HealthCheckRequest::default()).await;
            drop(check.expect("served"));
        })
        .await;
        self.row("health Watch, up to the first answer", |_| async {
            let watch = HealthClient::new(self.channel.clone()).watch(HealthCheckRequest::default()).await;
            watch.expect("served").into_inner().next().await.expect("an answer").expect("no error");
        })
        .await;
        for (name, asked) in [
            ("reflection, the services", MessageRequest::ListServices(String::new())),
            (
                "reflection, the largest file",
                MessageRequest::FileContainingSymbol("powerstream.gateway.v1.StreamService".into()),
            ),
        ] {
            self.row(name, |_| async {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked.clone()) };
                let mut client = ServerReflectionClient::new(self.channel.clone());
                let answers = client.server_reflection_info(futures::stream::iter([request])).await.expect("served");
                answers.into_inner().next().await.expect("an answer").expect("no error");
            })
            .await;
        }
    }

    async fn admin(&self) {
        for path in ["/livez", "/readyz", "/metrics", "/none"] {
            self.row(&format!("GET {path}, a connection each"), |_| async {
                let mut stream = tokio::net::TcpStream::connect(self.admin).await.expect("it listens");
                let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.expect("written");
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.expect("read");
                assert!(!answer.is_empty());
            })
            .await;
        }
    }
}

fn settings(x: &SimulatorHandle, dir: &Path) -> Settings {
    let bearer = dir.join("bearer");
    std::fs::write(&bearer, "bench").expect("the directory is ours");
    let mut settings = Settings { data_dir: dir.join("data"), ..Settings::default() };
    settings.grpc.address = "127.0.0.1:0".parse().expect("an address");
    settings.admin.address = settings.grpc.address;
    settings.ingest.recovery.manual_jobs_per_hour_max = 100_000;
    settings.ingest.recovery.manual_jobs_per_hour_per_caller_max = 0;
    let mut account =
        AccountSettings::new(AccountName::new("main").expect("a name"), secret::SecretSource::File(bearer));
    account.url = x.base_url().parse().expect("a URL");
    settings.accounts = vec![account];
    settings
}

fn seconds(time: UnixMillis) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: time.0.div_euclid(1_000), nanos: 0 })
}
