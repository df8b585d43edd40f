//! What the calls of a connection know of the client's certificate.

use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use super::connection::ConnectionServer;
use super::listener::TLS_PORT;
use crate::clock::Clock;
use crate::grpc::Config;
use crate::model::UnixMillis;
use crate::proto::ListStreamsRequest;
use crate::proto::stream_service_client::StreamServiceClient;
use crate::task::{ExitPolicy, Shutdown, TaskGroup};
use crate::telemetry::metrics::Registry;
use crate::tls::tests::pki::{Authority, VALID};
use crate::tls::{ClientAuth, Metrics, PeerIdentity, TlsListener};

/// Responds with the number of certificates of the client, as the text of a status.
async fn count_certificates(request: Request) -> impl IntoResponse {
    let count = request.extensions().get::<PeerIdentity>().map(|identity| identity.certificates.len());
    let text = count.map_or_else(|| "no identity".to_owned(), |count| format!("{count} certificates"));
    [("content-type", "application/grpc".to_owned()), ("grpc-status", "5".to_owned()), ("grpc-message", text)]
}

/// Each call, not only the first of a connection, gets the verified chain; a client without certificate has no identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_has_identity_of_its_connection() {
    let (dir, servers, clients) = (tempfile::tempdir().expect("a directory"), Authority::new(), Authority::new());
    let write = |name: &str, content: &str| {
        std::fs::write(dir.path().join(name), content).expect("the directory is ours");
        Some(dir.path().join(name))
    };
    let server = servers.issue(&["localhost"], VALID);
    let mut config = Config::default();
    config.tls.cert_file = write("cert", &server.certificate);
    config.tls.key_file = write("key", &server.key);
    config.tls.client_ca_file = write("ca", &clients.pem());
    config.tls.client_auth = ClientAuth::Optional;
    let (clock, tasks, shutdown) = (Clock::system(), TaskGroup::new(), Shutdown::new());
    let metrics = Registry::new(UnixMillis(0)).process(Metrics::register);
    let tls = TlsListener::load(TLS_PORT, &config.tls, &clock, &metrics).expect("the files are usable");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let routes = Routes::from(Router::new().fallback(count_certificates));
    let connections = ConnectionServer::new(config, routes, Some(tls), clock, tasks.group());
    tasks.spawn("server", ExitPolicy::Continue, connections.serve(listener, shutdown.clone()));

    let intermediate = clients.intermediate();
    let mut identity = intermediate.issue(&["client"], VALID);
    identity.certificate.push_str(&intermediate.pem());
    let identity = tonic::transport::Identity::from_pem(identity.certificate, identity.key);
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(servers.pem())).domain_name("localhost");
    for (tls, expected) in [(trusting.clone().identity(identity), "2 certificates"), (trusting, "no identity")] {
        let endpoint = Channel::from_shared(format!("https://{address}")).expect("a URI");
        let channel = endpoint.tls_config(tls).expect("usable").connect().await.expect("accepted");
        let mut client = StreamServiceClient::new(channel);
        for _ in 0..3 {
            let status = client.list_streams(ListStreamsRequest::default()).await.expect_err("a status");
            assert_eq!(status.message(), expected);
        }
    }
    shutdown.cancel();
}
