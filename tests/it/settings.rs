//! Every number of the configuration at its bounds, with the gateway as it is served: 100 posts reach a subscriber.
//!
//! The keys come from the schema, so that a new key is covered by itself. What values are refused, and how often X is asked
//! with the others, is tested on a virtual clock (`server/app/tests/settings.rs`), which has neither ports nor clients.
//! Keys of `upstream`, `ingest` and `clock` are tested there; `SETTINGS=full` plays them here too, and 0 and 1 of all keys.
//! Not played is a `clock.rate` beyond 1: all time-outs of the real connections would run out as fast (`world::patient`).

use std::path::Path;

use futures::StreamExt;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::config::{self, Settings};
use powerstream_gateway::simulator::SimulatorHandle;
use serde_json::Value;

use crate::harness::env::{BEARER, Client};
use crate::harness::eventually::DEADLINE;
use crate::harness::{ResumingConsumer, TestEnv, eventually, filters, ground_truth};

const POSTS: usize = 100;
/// Gateways at once.
const AT_ONCE: usize = 4;

/// Each number and duration of the schema, with its lowest and highest value.
fn bounds(root: &Value, section: &Value, path: &str, found: &mut Vec<(String, [String; 2])>) {
    let resolve = |node: &'_ Value| -> Value {
        let target = node.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        target.and_then(|pointer| root.pointer(pointer)).unwrap_or(node).clone()
    };
    for (key, node) in section.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let text = |name: &str| node.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
        let ends = |name: &str| Some([text(&format!("{name}minimum"))?, text(&format!("{name}maximum"))?]);
        match ends("").or_else(|| ends("x-")) {
            Some(ends) => found.push((path, ends)),
            None => bounds(root, &resolve(node), &path, found),
        }
    }
}

/// The values of a run: each key with one value.
fn cases() -> Vec<(String, String)> {
    let (schema, mut found) = (config::schema(), Vec::new());
    bounds(&schema, &schema, "", &mut found);
    assert!(found.len() > 100, "{found:?}");
    let full = std::env::var("SETTINGS").is_ok_and(|scale| scale == "full");
    let only = std::env::var("SETTING").ok();
    let elsewhere = |path: &str| ["upstream.", "ingest.", "clock."].iter().any(|section| path.starts_with(section));
    found.retain(|(path, _)| (full || !elsewhere(path)) && only.as_deref().is_none_or(|only| only == path));
    let mut cases = Vec::new();
    for (path, [min, max]) in found {
        let is_duration = max.parse::<f64>().is_err();
        let near = if is_duration { ["0s", "1s"] } else { ["0", "1"] };
        let values = near.into_iter().filter(|_| full).map(str::to_owned).chain([min, max]);
        cases.extend(values.map(|value| (path.clone(), value)));
    }
    cases.retain(|(path, value)| path != "clock.rate" || value.parse::<f64>().is_ok_and(|rate| rate <= 1.0));
    cases
}

/// Settings of a gateway on free ports with this upstream and one key set; `None` if they are refused with a fault that names
/// the key.
fn load(x: &SimulatorHandle, dir: &Path, path: &str, value: &str) -> Result<Option<Settings>, String> {
    let bearer = dir.join("bearer");
    std::fs::write(&bearer, BEARER).expect("the directory is ours");
    let (data, bearer, url) = (dir.join("data"), bearer.display(), x.base_url());
    let text = format!(
        "data_dir: {}\ngrpc: {{ address: '127.0.0.1:0' }}\nadmin: {{ address: '127.0.0.1:0' }}\n\
         accounts: [{{ name: main, bearer: {{ file: {bearer} }}, url: '{url}' }}]\n",
        data.display(),
    );
    let file = dir.join("config.yaml");
    std::fs::write(&file, text).expect("the directory is ours");
    match config::load(Some(&file), &[(path.to_owned(), value.to_owned())], std::iter::empty()) {
        Ok(settings) => Ok(Some(settings)),
        Err(faults) => {
            let key = path.rsplit('.').next().unwrap_or(path);
            let is_named = faults.all().iter().any(|fault| fault.path == path || fault.text.contains(key));
            if is_named { Ok(None) } else { Err(format!("{path}={value}: {faults}")) }
        }
    }
}

/// Plays one value. Returns whether it is taken.
async fn play((path, value): (String, String)) -> Result<bool, String> {
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), |_| ());
    let Some(settings) = load(&env.x, env.dir(), &path, &value)? else { return Ok(false) };
    env.settings = settings;
    if let Err(error) = env.try_start_gateway().await {
        // What depends on the host is found when it starts, and by `check`.
        return if format!("{error:#}").contains(&path) {
            Ok(false)
        } else {
            Err(format!("{path}={value}: {error:#}"))
        };
    }
    let delivery = async {
        eventually("the upstream connection is up", async || env.x.connections().live > 0).await;
        let sent = env.post_mix(POSTS);
        let mut consumer = ResumingConsumer::new(&env.x, filters::all());
        while consumer.got.len() < POSTS {
            let address = format!("http://{}", env.app().grpc_address());
            let Ok(client) = Client::connect(address).await else { continue };
            let had = consumer.got.len();
            consumer = consumer.read(client, |session| had + session.got.len() >= POSTS).await;
        }
        ground_truth::assert_exact(&format!("{path}={value}"), &sent, &consumer.got);
    };
    match Clock::system().timeout(DEADLINE, delivery).await {
        Ok(()) => Ok(true),
        Err(_) => Err(format!("{path}={value}: not {POSTS} posts within {DEADLINE:?}")),
    }
}

/// `upstream.batch_bytes_max: 0` was taken, and swallowed every post without a log line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn number_at_bound_delivers_posts() {
    let cases = cases();
    let count = cases.len();
    let outcomes: Vec<_> = futures::stream::iter(cases.into_iter().map(play)).buffer_unordered(AT_ONCE).collect().await;
    let taken = outcomes.iter().filter(|outcome| matches!(outcome, Ok(true))).count();
    let faults: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    eprintln!("{count} values, {taken} taken: each delivered {POSTS} posts");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
