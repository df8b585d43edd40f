//! What probes and clients without a proto file see.

use futures::FutureExt;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::WarningCode;
use powerstream_gateway::simulator::ErrorResponse;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::harness::probe::get;
use crate::harness::{TestEnv, eventually, filters, in_time, latest};

async fn channel(address: std::net::SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
    in_time("a connection", endpoint.connect()).await.expect("it listens")
}

async fn serving(health: &mut HealthClient<Channel>, service: &str) -> bool {
    let request = HealthCheckRequest { service: service.into() };
    let answer = in_time("an answer", health.check(request)).await.expect("the service is known");
    answer.into_inner().status() == ServingStatus::Serving
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_while_upstream_is_down() {
    let quick = |settings: &mut Settings| settings.upstream.http_backoff_step = std::time::Duration::from_millis(200);
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), quick);
    env.x.refuse_until_cleared(ErrorResponse::unauthorized());
    env.start_gateway().await;
    eventually("it is refused", async || env.x.counters().refused > 0).await;
    let admin = env.app().admin_address();
    assert_eq!(get(admin, "/livez").await.0, 200);
    assert_eq!(get(admin, "/readyz").await.0, 200);
    let mut health = HealthClient::new(channel(env.app().grpc_address()).await);
    assert!(serving(&mut health, "").await);
    assert!(serving(&mut health, "ready").await);
    assert!(!serving(&mut health, "main").await);
    eventually("sessions are warned", async || {
        let session = env.subscribe(latest(&filters::all())).await;
        session.start.warnings.iter().map(|warning| warning.code()).eq([WarningCode::UpstreamDown])
    })
    .await;
    let unknown = HealthCheckRequest { service: "unknown".into() };
    assert_eq!(health.check(unknown).await.expect_err("unknown").code(), tonic::Code::NotFound);

    env.x.clear_refusals();
    env.connected().await;
    eventually("the account serves", async || serving(&mut health, "main").await).await;
    assert_eq!(get(admin, "/nothing").await.0, 404);
}

/// Load balancers ask for the services' own names, and watch one that a later version knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_known_and_unknown_watch_stays() {
    let env = TestEnv::new().await;
    let mut health = HealthClient::new(channel(env.app().grpc_address()).await);
    for name in ["StreamService", "RecoveryService", "RuleService"] {
        assert!(serving(&mut health, &format!("powerstream.gateway.v1.{name}")).await, "{name}");
    }
    assert!(serving(&mut health, "grpc.health.v1.Health").await);
    let unknown = HealthCheckRequest { service: "unknown".into() };
    let mut watch = health.watch(unknown).await.expect("it is answered").into_inner();
    let first = in_time("a status", watch.message()).await.expect("no error").expect("one");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    assert!(serving(&mut health, "").await);
    assert!(watch.message().now_or_never().is_none(), "it stays open, and reports it once");
}

async fn reflected(client: &mut ServerReflectionClient<Channel>, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let asking = client.server_reflection_info(futures::stream::iter([request]));
    let mut answers = in_time("an answer", asking).await.expect("it is served").into_inner();
    let answer: ServerReflectionResponse = answers.message().await.expect("an answer").expect("one answer");
    answer.message_response.expect("a response")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_describes_services_and_errors() {
    let env = TestEnv::new().await;
    let mut client = ServerReflectionClient::new(channel(env.app().grpc_address()).await);
    let listed = reflected(&mut client, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    let ours = ["StreamService", "RecoveryService", "RuleService"].map(|name| format!("powerstream.gateway.v1.{name}"));
    for served in [ours[0].as_str(), &ours[1], &ours[2], "grpc.health.v1.Health"] {
        assert!(names.contains(&served), "{names:?}");
    }
    let errors = ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"].map(str::to_owned);
    for symbol in errors.into_iter().chain([format!("{}.Subscribe", ours[0]), format!("{}.ListGaps", ours[1])]) {
        let described = reflected(&mut client, MessageRequest::FileContainingSymbol(symbol.clone())).await;
        let MessageResponse::FileDescriptorResponse(files) = described else { panic!("{symbol}: {described:?}") };
        assert!(!files.file_descriptor_proto.is_empty(), "{symbol}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_v1alpha_equals_v1() {
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1alpha::{FileDescriptorResponse, ServerReflectionRequest};

    let env = TestEnv::new().await;
    let mut client = ServerReflectionClient::new(channel(env.app().grpc_address()).await);
    let symbol = MessageRequest::FileContainingSymbol("powerstream.gateway.v1.StreamService".into());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let asking = client.server_reflection_info(futures::stream::iter([request]));
    let mut answers = in_time("an answer", asking).await.expect("it is served").into_inner();
    let answer = answers.message().await.expect("an answer").expect("one answer").message_response;
    let Some(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: files })) = answer
    else {
        panic!("{answer:?}")
    };
    assert!(!files.is_empty());
}
