//! Requests that no client of gRPC sends, and values that make no sense. Each ends for itself, with the code and the reason
//! of the contract (section 8), in the details and in the trailer alike.

mod requests;
mod transport;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use powerstream_gateway::proto::SubscribeRequest;
use powerstream_gateway::proto::recovery_service_client::RecoveryServiceClient;
use tonic::Code;

use super::stage::Stage;
use super::wire::play;
use crate::harness::env::account;
use crate::harness::{Subscriber, TestEnv, filters, latest, reason};

/// The other account.
const OTHER: &str = "other";
/// Manual recovery jobs of an hour.
const JOBS_MAX: usize = 3;

fn tune(env: &mut TestEnv) {
    let other = env.upstreams.start(|_| ());
    let bearer: PathBuf = env.bearer_file();
    let settings = &mut env.settings;
    settings.accounts.push(account(OTHER, &other, &bearer));
    settings.grpc.unary_timeout = Duration::from_secs(2);
    settings.ingest.recovery.manual_jobs_per_hour_max = JOBS_MAX;
}

/// A token that the gateway issued for this account.
async fn token(stage: &Stage, account: &str) -> String {
    let request = SubscribeRequest { account: account.into(), ..latest(&filters::all()) };
    let session = Subscriber::open(&mut stage.gateway.client().await, request).await.expect("it begins");
    session.token().to_owned()
}

/// Each job makes requests of X that cost money.
async fn jobs_beyond_budget(address: SocketAddr) -> Result<(), String> {
    let connecting = RecoveryServiceClient::connect(format!("http://{address}")).await;
    let mut client = connecting.map_err(|error| error.to_string())?;
    let mut ends = Vec::new();
    for n in 0..2 * JOBS_MAX {
        let created = client.create_recovery_job(requests::recovery(3 + n as i64)).await;
        ends.extend(created.err().map(|status| (status.code(), reason(&status).to_owned())));
    }
    let refused = vec![(Code::ResourceExhausted, "RECOVERY_LIMIT".to_owned()); JOBS_MAX];
    if ends == refused { Ok(()) } else { Err(format!("{ends:?}")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_attacks_end_with_their_reason() {
    let mut stage = Stage::open(tune).await;
    let (own, foreign) = (token(&stage, "main").await, token(&stage, OTHER).await);
    let calls = [transport::envelopes(), transport::messages(), transport::metadata()];
    let values = [requests::subscriptions(), requests::tokens(&own, &foreign), requests::lookups(), requests::jobs()];
    for cases in calls.into_iter().chain(values).chain([requests::probes()]) {
        play(&mut stage, cases, true).await;
    }
    let address = stage.grpc();
    stage.play("more recovery jobs than allowed", jobs_beyond_budget(address)).await;
    stage.end("grpc", 140).await;
}
