use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::subscriber::with_default;

use super::*;

/// A writer that stores its output.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A collector that stores its requests.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn logged_with(config: &Config, work: impl FnOnce()) -> (String, Option<otlp::OtlpExport>) {
    let lines = Lines::default();
    let writer = lines.clone();
    let in_use = SwappableFilter::new(filter(&config.log_filter).expect("a valid filter"));
    let (subscriber, export) = subscriber(config, in_use, move || writer.clone(), false).expect("a subscriber");
    with_default(subscriber, work);
    (lines.text(), export)
}

fn exporting_to(port: u16) -> Config {
    let endpoint = format!("http://127.0.0.1:{port}").parse().expect("a URL");
    Config { otlp_endpoint: Some(endpoint), otlp_timeout: Duration::from_secs(1), ..Config::default() }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_collector_with_their_attributes() {
    let collector = Collector::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let (_, export) = logged_with(&exporting_to(port), || {
        let outer = tracing::info_span!("subscribe", account = "main", batch_events = 64).entered();
        tracing::info_span!(parent: &outer, "resume").in_scope(|| tracing::info!("caught up"));
        drop(tracing::info_span!(target: "h2", "a library's span", authorization = "Bearer x"));
        drop(tracing::debug_span!("detail"));
    });
    tokio::task::spawn_blocking(|| Guard { export }.shutdown()).await.expect("flushed");

    let requests = std::mem::take(&mut *collector.0.lock());
    let resources: Vec<_> = requests.into_iter().flat_map(|request| request.resource_spans).collect();
    let resource = resources[0].resource.as_ref().expect("a resource");
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some(SERVICE_NAME));
    assert_eq!(attribute(&resource.attributes, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let mut spans: Vec<_> = resources.iter().flat_map(|r| &r.scope_spans).flat_map(|scope| &scope.spans).collect();
    spans.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["resume", "subscribe"]);
    let [resume, subscribe] = spans[..] else { panic!("two spans") };
    assert_eq!(attribute(&subscribe.attributes, "account").as_deref(), Some("main"));
    assert_eq!(attribute(&subscribe.attributes, "batch_events").as_deref(), Some("64"));
    assert_eq!((&resume.parent_span_id, &resume.trace_id), (&subscribe.span_id, &subscribe.trace_id));
    assert_eq!(resume.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["caught up"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_collector_is_logged_once() {
    // One collector refuses connections, one accepts them and stays silent.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let refusing = closed.local_addr().expect("an address").port();
    drop(closed);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    for port in [refusing, silent.local_addr().expect("an address").port()] {
        let config = Config {
            otlp_queue_spans_max: 16,
            otlp_batch_spans_max: 4,
            otlp_timeout: Duration::from_millis(100),
            otlp_flush_timeout: Duration::from_millis(1_500),
            ..exporting_to(port)
        };
        let before = Instant::now();
        let (_, export) = logged_with(&config, || {
            for n in 0..20_000 {
                drop(tracing::info_span!("subscribe", n));
            }
        });
        assert!(before.elapsed() < Duration::from_secs(60), "spans are dropped, not waited for");
        let before = Instant::now();
        tokio::task::spawn_blocking(|| Guard { export }.shutdown()).await.expect("flushed");
        assert!(before.elapsed() < Duration::from_secs(60), "the flush has a deadline");
    }
}

#[test]
fn export_failure_is_logged_at_start_and_end() {
    let outcomes = [false, false, true, true, false];
    let (text, _) = logged_with(&Config::default(), || {
        let health = otlp::ExportHealthLog::new("http://127.0.0.1:4317".parse().expect("a URL"));
        for good in outcomes {
            let failed = || opentelemetry_sdk::error::OTelSdkError::InternalFailure("refused".to_owned());
            health.record_result(&if good { Ok(()) } else { Err(failed()) });
        }
    });
    let recovered: Vec<_> = text.lines().map(|line| line.contains("recovered")).collect();
    assert_eq!(recovered, [false, true, false], "{text}");
}

#[test]
fn log_lines_follow_format_and_filter() {
    let work = || {
        tracing::info!(account = "main", "connected");
        tracing::debug!("a detail");
        tracing::info!(target: "other", "of a library");
    };
    let log_filter = "warn,powerstream_gateway=info".to_owned();
    let (text, _) = logged_with(&Config { log_filter: log_filter.clone(), ..Config::default() }, work);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("INFO") && text.contains("connected account=\"main\""), "{text}");
    let (json, _) = logged_with(&Config { log_format: LogFormat::Json, log_filter, ..Config::default() }, work);
    let line: serde_json::Value = serde_json::from_str(json.trim_end()).expect("one line of JSON");
    assert_eq!((&line["message"], &line["account"]), (&"connected".into(), &"main".into()), "{json}");
}

#[test]
fn setting_up_twice_changes_nothing() {
    for _ in 0..3 {
        init(&Config { log_filter: "off".to_owned(), ..Config::default() }).expect("set up").shutdown();
    }
}

#[test]
fn setup_errors_name_remedy() {
    for (config, word) in [
        (Config { log_filter: "a=b=c".to_owned(), ..Config::default() }, "info,powerstream_gateway=debug"),
        (exporting_to(4317), "no runtime"),
        (Config { otlp_endpoint: "https://c:1".parse().ok(), ..Config::default() }, "only http"),
    ] {
        let error = init(&config).expect_err("refused").to_string();
        assert!(error.contains(word), "{error}");
    }
}
