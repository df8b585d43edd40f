//! The process: configuration and its reload, log filter, HTTP/2 on the admin port, audit.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use powerstream_gateway::proto::{
    ConfigOrigin, ConfigValue, DrainRequest, GetConfigRequest, ListSessionsRequest, ReloadRequest, ReloadResponse,
    SetLogFilterRequest, UndrainRequest, WhoAmIRequest,
};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use super::{Admin, admin, configure, token, with_credential};
use crate::harness::env::BEARER;
use crate::harness::pki::{Authority, VALID};
use crate::harness::probe::get;
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, eventually, filters, in_time, latest, reason};

async fn config(client: &mut Admin, path: &str) -> Vec<ConfigValue> {
    let (mut values, mut token) = (Vec::new(), String::new());
    loop {
        let request = GetConfigRequest { path: path.into(), page_size: 50, page_token: token };
        let page = client.get_config(with_credential("admin-all", request)).await.expect("served").into_inner();
        values.extend(page.values);
        token = page.next_page_token;
        if token.is_empty() {
            return values;
        }
    }
}

async fn reload(client: &mut Admin) -> ReloadResponse {
    let request = with_credential("admin-all", ReloadRequest {});
    in_time("a report", client.reload(request)).await.expect("served").into_inner()
}

pub(super) fn edit(dir: &Path, from: &str, to: &str) {
    edit_file(&dir.join("gateway.yaml"), from, to);
}

fn edit_file(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("ours");
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(path, text.replace(from, to)).expect("ours");
}

/// Reload reports what changed, what waits for a restart, and faults; with a fault nothing changes. GetConfig shows what is in
/// effect and where it comes from, and no secret.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_is_shown_and_reloaded() {
    const CANARY: &str = "canaryOfTheCollector";
    let env = TestEnv::without_gateway(
        Clock::system(),
        |_| (),
        |settings| {
            configure(settings);
            // Only Reload applies changes.
            settings.reload.interval = Duration::from_secs(3_600);
            settings.telemetry.otlp_endpoint =
                Some(format!("http://user:{CANARY}@127.0.0.1:1").parse().expect("a URL"));
        },
    );
    let gateway = Gateway::spawn_listening(&env.settings, env.dir(), &["--set", "hub.sessions_max=500"]).await;
    let mut client = admin(gateway.admin()).await;
    let all = config(&mut client, "").await;
    let text = format!("{all:?}");
    let secrets = super::PRINCIPALS.map(|principal| token(principal).token[13..].to_owned());
    for secret in secrets.iter().map(String::as_str).chain([CANARY, BEARER]) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let find = |values: &[ConfigValue], path: &str| values.iter().find(|own| own.path == path).cloned().expect("a key");
    let endpoint = find(&all, "telemetry.otlp_endpoint");
    assert_eq!(endpoint.value, "\"http://redacted@127.0.0.1:1/\"");
    assert_eq!(endpoint.origin(), ConfigOrigin::File);
    let sessions = find(&all, "hub.sessions_max");
    assert_eq!((sessions.value.as_str(), sessions.origin(), sessions.live), ("500", ConfigOrigin::CommandLine, true));
    assert!(find(&all, "roles[0].rights").live && find(&all, "accounts[0].name").value == "\"main\"");
    assert!(config(&mut client, "grpc").await.iter().all(|own| own.path.starts_with("grpc.")));

    // One bad value: everything stays, and the fault names it.
    edit(env.dir(), "name: viewer", "name: watcher");
    edit(env.dir(), "lookups_max: 32", "lookups_max: none");
    let report = reload(&mut client).await;
    assert!(!report.applied && report.changed_keys.is_empty(), "{report:?}");
    assert!(report.faults.iter().any(|fault| fault.contains("grpc.lookups_max")), "{report:?}");
    assert_eq!(config(&mut client, "").await, all, "nothing has changed");
    edit(env.dir(), "lookups_max: none", "lookups_max: 33");
    // The principal still names the role of before.
    let report = reload(&mut client).await;
    assert!(!report.applied && !report.faults.is_empty(), "{report:?}");
    edit(env.dir(), "    - viewer", "    - watcher");
    edit_file(&env.settings.auth.token_files[0], "principal: viewer", "principal: watcher");
    edit(env.dir(), "mode: enforce", "mode: observe");
    let report = reload(&mut client).await;
    assert!(report.applied && report.faults.is_empty(), "{report:?}");
    assert!(report.restart_required_keys == ["grpc.lookups_max"], "{report:?}");
    for key in ["grpc.lookups_max", "limits.mode", "principals[1].name", "roles[1].name"] {
        assert!(report.changed_keys.iter().any(|own| own == key), "{key} in {report:?}");
    }
    let values = config(&mut client, "grpc.lookups_max").await;
    assert_eq!((values[0].value.as_str(), values[0].pending_value.as_str()), ("32", "33"));
    let report = reload(&mut client).await;
    assert!(report.applied && report.changed_keys.is_empty(), "{report:?}");
    assert_eq!(report.restart_required_keys, ["grpc.lookups_max"]);

    // A principal is removed: the next snapshot has one less.
    let lines = |message: &str| gateway.messages(message);
    let changed = lines("access snapshot replaced");
    assert!(!changed.is_empty() && changed[0]["target"] == "audit", "{changed:?}");
    let calls = lines("admin call");
    assert!(calls.iter().any(|line| line["method"] == "/powerstream.gateway.v1.AdminService/Reload"), "{calls:?}");
    assert!(calls.iter().all(|line| line["principal"] == "admin-all" && line["peer"] == "127.0.0.1"), "{calls:?}");
    let reloads = lines("configuration reloaded");
    assert!(reloads.iter().any(|line| line["changed"].as_str().is_some_and(|keys| keys.contains("roles"))));
    assert!(!gateway.log().contains(CANARY), "not in the log either");
}

/// Sessions, admin calls and their denial have audit lines, with outcome and reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_has_sessions_and_admin_calls() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut consumer = gateway.client().await;
    let request = with_credential("reader", latest(&filters::all()));
    let mut stream = consumer.subscribe(request).await.expect("it begins").into_inner();
    in_time("a frame", stream.message()).await.expect("it continues");
    drop(stream);
    // A drain would end the session otherwise.
    eventually("the end of the session is logged", async || !gateway.messages("session closed").is_empty()).await;
    let mut client = admin(gateway.admin()).await;
    let refused = client.drain(with_credential("reader", DrainRequest::default())).await.expect_err("no right");
    assert_eq!(refused.code(), Code::PermissionDenied);
    client.drain(with_credential("admin-all", DrainRequest::default())).await.expect("served");
    client.undrain(with_credential("admin-all", UndrainRequest {})).await.expect("served");
    eventually("the calls are logged", async || gateway.messages("admin call").len() >= 3).await;
    let (opened, closed) = (gateway.messages("session opened"), gateway.messages("session closed"));
    assert_eq!((&opened[0]["session"], &closed[0]["principal"]), (&closed[0]["session"], &"reader".into()));
    assert_eq!(closed[0]["reason"], "CLIENT_LEFT");
    let calls = gateway.messages("admin call");
    let outcomes: Vec<_> = calls.iter().map(|line| (&line["principal"], &line["outcome"], &line["reason"])).collect();
    assert_eq!(outcomes[0], (&"reader".into(), &"PermissionDenied".into(), &"ACCESS_DENIED".into()));
    assert_eq!(outcomes[1], (&"admin-all".into(), &"Ok".into(), &"".into()));
    assert_eq!(gateway.messages("change requested").len(), 2, "the drain that was served, and its end");
    for line in gateway.log().lines() {
        assert!(!line.contains(&token("reader").token[13..]), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_filter_reverts_by_itself() {
    let env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    let mut client = admin(gateway.admin()).await;
    let debug = || gateway.levels("DEBUG");
    assert_eq!(debug(), 0);
    let change = |filter: &str, seconds| SetLogFilterRequest {
        filter: filter.into(),
        duration: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    let state = client.set_log_filter(change("debug", 1)).await.expect("valid").into_inner();
    assert_eq!((state.filter.as_str(), state.configured_filter.as_str()), ("debug", "info"));
    assert!(state.revert_time.is_some());
    eventually("debug lines are logged", async || {
        get(gateway.admin(), "/livez").await;
        debug() > 0
    })
    .await;
    eventually("it reverts", async || !gateway.messages("configured log filter applies again").is_empty()).await;
    // Lines that were on their way.
    get(gateway.admin(), "/livez").await;
    let before = debug();
    for _ in 0..20 {
        get(gateway.admin(), "/livez").await;
    }
    assert_eq!(debug(), before);
    // An override that hides everything does not hide audit lines, and ends on request.
    client.set_log_filter(change("off", 3_600)).await.expect("valid");
    let calls = gateway.messages("admin call").len();
    client.who_am_i(WhoAmIRequest::default()).await.expect("served");
    eventually("the call is logged", async || gateway.messages("admin call").len() > calls).await;
    let state = client.set_log_filter(SetLogFilterRequest::default()).await.expect("valid").into_inner();
    assert_eq!((state.filter.as_str(), state.revert_time), ("info", None));
    for (filter, seconds) in [("info,=x=", 60), ("debug", 3_601), ("debug", -1)] {
        let refused = client.set_log_filter(change(filter, seconds)).await.expect_err("invalid");
        assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, "ARGUMENT_INVALID"), "{filter}");
    }
}

/// HTTP/2 by ALPN for AdminService, and HTTP/1.1 for probes, on one port with TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_port_serves_both_protocols() {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"], VALID);
    let dir = env.dir().to_owned();
    std::fs::write(dir.join("cert.pem"), &identity.certificate).expect("ours");
    std::fs::write(dir.join("key.pem"), &identity.key).expect("ours");
    let tls = &mut env.settings.admin.tls;
    (tls.cert_file, tls.key_file) = (Some(dir.join("cert.pem")), Some(dir.join("key.pem")));
    env.start_gateway().await;
    let address = env.app().admin_address();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem())).domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://{address}")).expect("a URL").tls_config(tls).expect("valid");
    let mut client = Admin::new(in_time("a connection", endpoint.connect()).await.expect("accepted"));
    let own = client.who_am_i(with_credential("viewer", WhoAmIRequest::default())).await.expect("served").into_inner();
    assert_eq!(own.principal, "viewer");
    let answer = crate::tls::get(address, &authority.pem(), "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    client.who_am_i(with_credential("viewer", WhoAmIRequest::default())).await.expect("the connection lasts");
}

/// More connections of operators than there are places, each with calls: probes are answered at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_do_not_starve_probes() {
    let env = TestEnv::tuned(
        |_| (),
        |settings| {
            let admin = &mut settings.admin;
            (admin.connections_max, admin.rpc_connections_max, admin.rpc_streams_max) = (2, 2, 2);
            admin.request_timeout = Duration::from_secs(2);
        },
    )
    .await;
    let address = env.app().admin_address();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = admin(address).await;
        in_time("an answer", client.who_am_i(WhoAmIRequest::default())).await.expect("served");
        clients.push(client);
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(in_time("a probe", get(address, path)).await.0, 200);
        }
    }
    // The newest have their places for longer than one request may take.
    let mut last = clients.pop().expect("one");
    let clock = Clock::system();
    clock.timeout(Duration::from_millis(2_500), std::future::pending::<()>()).await.expect_err("it passes");
    last.list_sessions(ListSessionsRequest::default()).await.expect("the connection lasts");
    // More calls at once than a connection may have wait for each other.
    let calls = (0..20).map(|_| {
        let mut client = last.clone();
        async move { client.list_sessions(ListSessionsRequest::default()).await.map(drop) }
    });
    let answers = in_time("all answers", futures::future::join_all(calls)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Works with the demo's settings: no credential, no proto file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_finds_and_calls_methods() {
    let env = TestEnv::new().await;
    let mut session = env.ask(latest(&filters::all())).await.expect("it begins");
    in_time("a frame", session.message()).await.expect("it continues");
    let address = env.app().admin_address();
    for (arguments, expected) in [
        (["list", ""], "powerstream.gateway.v1.AdminService"),
        (["powerstream.gateway.v1.AdminService/WhoAmI", ""], "\"anonymous\""),
        (["-d", "{\"consumer\": \"\"} powerstream.gateway.v1.AdminService/ListSessions"], "\"sessionId\""),
    ] {
        let Some(text) = grpcurl(address, &arguments) else {
            eprintln!("SKIPPED: grpcurl is not installed");
            return;
        };
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

fn grpcurl(address: SocketAddr, arguments: &[&str]) -> Option<String> {
    let program = std::env::var("GRPCURL").unwrap_or_else(|_| "grpcurl".to_owned());
    let mut command = Command::new(program);
    command.arg("-plaintext");
    let (flags, method) = match arguments {
        ["-d", rest] => {
            let (data, method) = rest.rsplit_once(' ').expect("data and a method");
            (vec!["-d", data], method)
        }
        [method, ..] => (Vec::new(), *method),
        [] => return None,
    };
    let ran = command.args(flags).arg(address.to_string()).arg(method).output().ok()?;
    Some(format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}
