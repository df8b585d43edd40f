//! AdminService on the admin port: what each right allows, and what operators can do to sessions and to the process.

mod commands;
mod live_settings;
mod process;
mod sessions;

use std::net::SocketAddr;

use powerstream_gateway::access::{NewToken, Right, RoleConfig, TagsConfig};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use powerstream_gateway::proto::admin_service_client::AdminServiceClient;
use powerstream_gateway::proto::{
    DrainRequest, GetConfigRequest, ListAccountsRequest, ListSessionsRequest, ReloadRequest, SetLogFilterRequest,
    TerminateSessionRequest, UndrainRequest, WhoAmIRequest, WhoAmIResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::env::account;
use crate::harness::tokens::{principal, role};
use crate::harness::{TestEnv, in_time, reason};

/// A client of AdminService.
pub type Admin = AdminServiceClient<Channel>;

/// Connects to AdminService at this address.
pub async fn admin(address: SocketAddr) -> Admin {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
    Admin::new(in_time("a connection", endpoint.connect()).await.expect("it listens"))
}

/// The principals of these tests.
const PRINCIPALS: [&str; 4] = ["reader", "viewer", "admin-main", "admin-all"];

fn token(principal: &str) -> NewToken {
    let number = 1 + PRINCIPALS.iter().position(|own| *own == principal).expect("one of them") as u8;
    NewToken::new([number; 8], [number; 32])
}

fn with_credential<T>(principal: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !principal.is_empty() {
        let value = format!("Bearer {}", token(principal).token);
        request.metadata_mut().insert("authorization", value.parse().expect("ASCII"));
    }
    request
}

fn configure(settings: &mut Settings) {
    let dir = settings.data_dir.parent().expect("below the directory of the test").to_owned();
    let path = dir.join("tokens.yaml");
    let line = |principal: &&str| {
        let NewToken { id, sha256, .. } = token(principal);
        format!("  - {{ id: {id}, sha256: \"{sha256}\", principal: {principal} }}\n")
    };
    let lines: String = PRINCIPALS.iter().map(line).collect();
    std::fs::write(&path, format!("tokens:\n{lines}")).expect("the directory is ours");
    settings.auth.token_files = vec![path];
    let cats = TagsConfig { allow: vec!["cats".into(), "news.*".into()], deny: vec!["news.x".into()], untagged: false };
    settings.roles = vec![
        RoleConfig { tags: Some(cats), ..role("reader", "main", &[Right::Read]) },
        role("viewer", "main", &[Right::Read, Right::Status]),
        role("admin-main", "main", &[Right::Read, Right::Status, Right::Admin]),
        role("admin-all", "*", &[Right::Read, Right::Status, Right::Admin]),
    ];
    settings.principals = PRINCIPALS.map(principal).into();
}

/// A gateway with the principals and two accounts, `main` and `other`.
async fn gateway() -> TestEnv {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    let other = env.upstreams.start(|_| ());
    env.settings.accounts.push(account("other", &other, &env.bearer_file()));
    env.settings.default_account = Some("main".into());
    env.start_gateway().await;
    env.connected().await;
    env
}

/// Calls each method as this principal. Returns the code and reason of each.
async fn call_each(client: &mut Admin, principal: &str) -> Vec<(&'static str, String)> {
    fn outcome<T>(name: &'static str, answer: Result<T, Status>) -> (&'static str, String) {
        let text = match answer {
            Ok(_) => "ok".to_owned(),
            Err(status) => format!("{:?} {}", status.code(), reason(&status)),
        };
        (name, text)
    }
    macro_rules! call {
        ($method:ident, $message:expr) => {
            outcome(
                stringify!($method),
                in_time("an answer", client.$method(with_credential(principal, $message))).await,
            )
        };
    }
    let terminate = TerminateSessionRequest { session_id: "none".into(), ..TerminateSessionRequest::default() };
    let named = WhoAmIRequest { principal: "reader".into() };
    vec![
        call!(list_accounts, ListAccountsRequest::default()),
        call!(list_sessions, ListSessionsRequest::default()),
        call!(terminate_session, terminate),
        call!(drain, DrainRequest::default()),
        call!(undrain, UndrainRequest::default()),
        call!(set_log_filter, SetLogFilterRequest::default()),
        call!(get_config, GetConfigRequest::default()),
        call!(reload, ReloadRequest::default()),
        call!(who_am_i, WhoAmIRequest::default()),
        call!(who_am_i, named),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_decide_each_method() {
    const DENIED: &str = "PermissionDenied ACCESS_DENIED";
    const UNKNOWN: &str = "NotFound SESSION_NOT_FOUND";
    // The log of a test is not that of the gateway.
    const NO_LOG: &str = "InvalidArgument ARGUMENT_INVALID";
    let env = gateway().await;
    let mut client = admin(env.app().admin_address()).await;
    let missing = "Unauthenticated CREDENTIALS_MISSING";
    for (principal, expected) in [
        ("", [missing; 10]),
        ("reader", [DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, "ok", "ok"]),
        ("viewer", ["ok", "ok", DENIED, DENIED, DENIED, DENIED, DENIED, DENIED, "ok", DENIED]),
        ("admin-main", ["ok", "ok", UNKNOWN, DENIED, DENIED, DENIED, DENIED, DENIED, "ok", DENIED]),
        ("admin-all", ["ok", "ok", UNKNOWN, "ok", "ok", NO_LOG, "ok", "ok", "ok", "ok"]),
    ] {
        let found = call_each(&mut client, principal).await;
        for ((name, found), expected) in found.iter().zip(expected) {
            assert_eq!(found, expected, "{principal}: {name}");
        }
    }
    // The gRPC port does not serve it, for any caller.
    let mut wrong = admin(env.app().grpc_address()).await;
    for principal in ["", "reader", "admin-all"] {
        for (name, found) in call_each(&mut wrong, principal).await {
            assert_eq!(found, "Unimplemented UNIMPLEMENTED", "{principal}: {name}");
        }
    }
    // And the admin port serves no posts.
    let endpoint = format!("http://{}", env.app().admin_address());
    let mut posts = crate::harness::env::Client::connect(endpoint).await.expect("it listens");
    let request = with_credential("admin-all", crate::harness::latest(&crate::harness::filters::all()));
    let refused = posts.subscribe(request).await.expect_err("refused");
    assert_eq!((refused.code(), reason(&refused)), (Code::Unimplemented, "UNIMPLEMENTED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_shows_rights_and_visible_tags() {
    let env = gateway().await;
    let mut client = admin(env.app().admin_address()).await;
    let mut ask = async |principal: &str, named: &str| -> WhoAmIResponse {
        let request = with_credential(principal, WhoAmIRequest { principal: named.into() });
        client.who_am_i(request).await.expect("served").into_inner()
    };
    let own = ask("reader", "").await;
    assert_eq!((own.principal.as_str(), own.roles.as_slice()), ("reader", ["reader".to_owned()].as_slice()));
    assert!(own.credential.starts_with("token "), "{}", own.credential);
    assert_eq!(own.accounts.len(), 1, "only accounts with a right");
    let grant = &own.accounts[0];
    assert_eq!((grant.account.as_str(), grant.rights.as_slice()), ("main", ["read".to_owned()].as_slice()));
    assert_eq!((grant.allowed_tags.join(" "), grant.denied_tags.join(" ")), ("cats news.*".into(), "news.x".into()));
    assert!(!grant.all_posts && !grant.untagged);
    let named = ask("admin-all", "reader").await;
    assert_eq!((named.credential.as_str(), &named.accounts), ("", &own.accounts));
    let own = ask("admin-all", "admin-all").await;
    assert_eq!(own.accounts.iter().map(|own| own.account.as_str()).collect::<Vec<_>>(), ["main", "other"]);
    assert!(own.accounts.iter().all(|own| own.all_posts));
    let request = with_credential("admin-all", WhoAmIRequest { principal: "unknown".into() });
    let refused = client.who_am_i(request).await.expect_err("not found");
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "PRINCIPAL_NOT_FOUND"));
}

/// On loopback, without any setting in `auth`, callers need no credential; if the admin port is reachable from elsewhere,
/// they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_access_is_for_loopback_listeners_only() {
    let env = TestEnv::new().await;
    let mut client = admin(env.app().admin_address()).await;
    let own = client.who_am_i(WhoAmIRequest::default()).await.expect("served").into_inner();
    assert_eq!((own.principal.as_str(), own.credential.as_str()), ("", "anonymous"));
    assert!(own.accounts.iter().all(|own| own.all_posts && own.rights.contains(&"admin".to_owned())), "{own:?}");
    client.list_sessions(ListSessionsRequest::default()).await.expect("served");
    drop(env);

    let env =
        TestEnv::tuned(|_| (), |settings| settings.admin.address = "0.0.0.0:0".parse().expect("an address")).await;
    let port = env.app().admin_address().port();
    let mut client = admin(SocketAddr::from(([127, 0, 0, 1], port))).await;
    for (name, found) in call_each(&mut client, "").await {
        assert_eq!(found, "Unauthenticated CREDENTIALS_MISSING", "{name}");
    }
}
