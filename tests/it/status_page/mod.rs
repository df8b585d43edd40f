//! The status page of the admin port: its content, the rights of viewers, and what keeps it from harm.

mod security;
mod shown;
mod watchers;

use std::net::SocketAddr;
use std::time::Duration;

use powerstream_gateway::access::{Right, RoleConfig, TagsConfig};
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::Settings;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::harness::env::account;
use crate::harness::tokens::{Secret, principal, role, tokens_file, write_tokens};
use crate::harness::{TestEnv, in_time};

/// The principals of these tests, with the number of the token of each.
const PRINCIPALS: [&str; 4] = ["reader", "viewer", "viewer-of-cats", "viewer-of-all"];

fn secret(principal: &'static str) -> Secret {
    let number = 1 + PRINCIPALS.iter().position(|own| *own == principal).expect("one of them");
    Secret::new(principal, u8::try_from(number).expect("few"))
}

fn configure(settings: &mut Settings) {
    let dir = settings.data_dir.parent().expect("below the directory of the test").to_owned();
    let secrets = PRINCIPALS.map(secret);
    write_tokens(&dir, &secrets.each_ref());
    settings.auth.token_files = vec![tokens_file(&dir)];
    settings.reload.interval = Duration::from_millis(100);
    let cats = TagsConfig { allow: vec!["cats".into()], ..TagsConfig::default() };
    settings.roles = vec![
        role("reader", "*", &[Right::Read]),
        role("viewer", "main", &[Right::Status]),
        RoleConfig { tags: Some(cats), ..role("viewer-of-cats", "main", &[Right::Status]) },
        role("viewer-of-all", "*", &[Right::Read, Right::Status]),
    ];
    settings.principals = PRINCIPALS.map(principal).into();
}

/// A gateway with the principals and two accounts, `main` and `other`.
async fn gateway(tune: impl FnOnce(&mut Settings)) -> TestEnv {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    let other = env.upstreams.start(|_| ());
    env.settings.accounts.push(account("other", &other, &env.bearer_file()));
    env.settings.default_account = Some("main".into());
    tune(&mut env.settings);
    env.start_gateway().await;
    env.connected().await;
    env
}

fn request(address: SocketAddr, path: &str) -> RequestBuilder {
    let client = Client::builder().no_proxy().build().expect("a client");
    client.get(format!("http://{address}{path}"))
}

async fn answer(request: RequestBuilder) -> Response {
    in_time("an answer", request.send()).await.expect("it answers")
}

/// Status and text of an answer.
async fn text(request: RequestBuilder) -> (StatusCode, String) {
    let answer = answer(request).await;
    (answer.status(), in_time("its end", answer.text()).await.expect("text"))
}

/// The snapshot that a viewer gets; an anonymous one without a principal.
async fn snapshot(address: SocketAddr, principal: Option<&'static str>) -> Value {
    let mut request = request(address, "/status.json");
    if let Some(principal) = principal {
        request = request.bearer_auth(secret(principal).token.token);
    }
    let (status, text) = text(request).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The account of this name in a snapshot.
fn open<'s>(snapshot: &'s Value, name: &str) -> &'s Value {
    let accounts = snapshot["accounts"].as_array().expect("a list");
    &accounts.iter().find(|own| own["name"] == name).expect("it is listed")["open"]
}

fn list<'s>(of: &'s Value, name: &str) -> &'s Vec<Value> {
    of[name]["list"].as_array().expect("a list")
}

/// A stream of events.
struct Events {
    answer: Response,
    received: String,
}

impl Events {
    async fn begin(request: RequestBuilder) -> Self {
        let answer = answer(request).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { answer, received: String::new() }
    }

    /// The next block of the stream; `None` at its end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.received.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.received = rest;
                return Some(block);
            }
            let chunk = in_time("a chunk, or the end", self.answer.chunk()).await.ok().flatten()?;
            self.received += std::str::from_utf8(&chunk).expect("whole characters");
        }
    }

    /// The next snapshot; `None` at the end.
    async fn snapshot(&mut self) -> Option<Value> {
        loop {
            let block = self.block().await?;
            if let Some(data) = block.strip_prefix("event: status\ndata: ") {
                return Some(serde_json::from_str(data).expect("JSON"));
            }
            assert!(block.starts_with(':') || block.starts_with("retry: "), "{block}");
        }
    }
}
