//! `powerstream-gateway rules` against a running gateway: from a pull request to converged, failures and exit codes. The simulator
//! counts the requests.

use std::time::Duration;

use powerstream_gateway::config::Settings;
use powerstream_gateway::rules::Mode;
use powerstream_gateway::simulator::{Config as Upstream, InitialRule};
use serde_json::Value;

use crate::harness::{TestEnv, eventually};
use crate::hostile::command::{Ended, gateway as command, run};

/// A managed account whose changes are not gathered.
fn managed(settings: &mut Settings) {
    settings.rules.coalesce_interval = Duration::ZERO;
    settings.rules.coalesce_max = Duration::ZERO;
    settings.rules.effect_delay = Duration::ZERO;
    settings.accounts[0].rules.mode = Mode::Manage;
}

fn bare(upstream: &mut Upstream) {
    upstream.rules.clear();
}

/// Runs `rules` with these arguments against the gateway.
async fn rules(env: &TestEnv, arguments: &[&str]) -> Ended {
    let address = format!("http://{}", env.app().grpc_address());
    let all = [&["rules"], arguments, &["--addr", &address]].concat();
    run(env.dir(), command(env.dir(), &all)).await.expect("it ends")
}

/// Runs a command that succeeds, and returns what it printed.
async fn done(env: &TestEnv, arguments: &[&str]) -> String {
    let ended = rules(env, arguments).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.text);
    ended.text
}

async fn json(env: &TestEnv, arguments: &[&str]) -> Value {
    let text = done(env, &[arguments, &["--format", "json"]].concat()).await;
    // Behind what it reports on stderr.
    let document = text.find('{').map_or("", |at| &text[at..]);
    serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command that fails with this exit code, and returns what it printed.
async fn fails(env: &TestEnv, code: i32, arguments: &[&str], words: &[&str]) {
    let ended = rules(env, arguments).await;
    assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.text);
    for word in words {
        assert!(ended.text.contains(word), "{arguments:?}: {word:?} is not in: {}", ended.text);
    }
}

fn write(env: &TestEnv, name: &str, text: &str) {
    std::fs::write(env.dir().join(name), text).expect("the directory is ours");
}

async fn start(upstream: impl FnOnce(&mut Upstream)) -> TestEnv {
    let env = TestEnv::tuned(upstream, managed).await;
    eventually("the rules are read", async || env.x.rule_requests().len() == 1).await;
    eventually("the answer is known", async || json(&env, &["list"]).await["as_of_time"].is_string()).await;
    env
}

const PETS: &str = "- {name: cats, value: cat lang:en, tag: pets}\n- {name: dogs, value: dog, tag: pets}\n";

/// The whole path: check, diff, apply, list, import. Only `apply` and `refresh` make requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_go_from_file_to_converged() {
    let env = start(bare).await;
    write(&env, "pets.yaml", PETS);
    let diff = done(&env, &["diff", "pets.yaml", "--set", "pipeline"]).await;
    assert!(diff.contains("+ pipeline/cats: cat lang:en (tag pets)\n"), "{diff}");
    assert!(diff.contains("2 to add, 0 to delete, 0 kept, 0 in no set: 1 requests to X"), "{diff}");
    let comment = done(&env, &["diff", "pets.yaml", "--set", "pipeline", "--format", "markdown"]).await;
    assert!(comment.contains("| add | `pipeline/dogs` | `dog` | `pets` |"), "{comment}");
    // The set of the files is planned too.
    assert!(done(&env, &["diff", "pets.yaml"]).await.contains("+ config/cats"), "the default set");
    assert_eq!(env.x.rule_requests().len(), 1, "a diff makes no request");

    let revision = json(&env, &["diff", "pets.yaml", "--set", "pipeline"]).await["revision"].to_string();
    let apply = ["apply", "pets.yaml", "--set", "pipeline", "--wait", "--expected-revision", &revision];
    let applied = done(&env, &apply).await;
    assert!(applied.contains("succeeded: 1 requests made"), "{applied}");
    let mut values: Vec<_> = env.x.rules().into_iter().map(|rule| rule.value).collect();
    values.sort();
    assert_eq!(values, ["cat lang:en", "dog"]);
    let listed = json(&env, &["list", "--set", "pipeline"]).await;
    let states: Vec<_> = listed["rules"].as_array().expect("a list").iter().map(|rule| rule["state"].clone()).collect();
    assert_eq!((states, &listed["converged"]), (vec!["active".into(), "active".into()], &true.into()), "{listed}");
    let table = done(&env, &["list"]).await;
    assert!(
        table.starts_with("SET") && table.contains("2 rules, as of ") && table.contains("manage, converged"),
        "{table}"
    );
    let again = done(&env, &["apply", "pets.yaml", "--set", "pipeline", "--wait"]).await;
    assert!(again.contains("nothing to change: 2 rules are kept"), "{again}");
    assert_eq!(env.x.rule_requests().len(), 2, "an unchanged set makes no request");

    let budget = json(&env, &["budget"]).await;
    assert_eq!((budget["used"].as_i64(), budget["limit"].as_i64()), (Some(2), Some(50)), "{budget}");
    done(&env, &["import", "-o", "imported.yaml"]).await;
    let checked = run(env.dir(), command(env.dir(), &["rules", "check", "imported.yaml"])).await.expect("it ends");
    assert_eq!(checked.code, Some(0), "{}", checked.text);
    let diff = done(&env, &["diff", "imported.yaml", "--set", "pipeline"]).await;
    assert!(diff.contains("nothing to change"), "what was imported is what X has: {diff}");
    let refreshed = json(&env, &["refresh"]).await;
    assert_eq!(refreshed["refreshed"], true, "{refreshed}");
    assert_eq!(env.x.rule_requests().len(), 3);
}

/// Each refusal names what to do, with the exit code of its kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_remedy_and_exit_code() {
    let env = start(bare).await;
    write(&env, "pets.yaml", PETS);
    write(&env, "none.yaml", "[]\n");
    write(&env, "wrong.yaml", "- {name: a, value: cat AND dog}\n");
    write(&env, "broken.yaml", "- value: from: ada\n");
    done(&env, &["apply", "pets.yaml", "--set", "pipeline", "--wait"]).await;
    let before = env.x.rule_requests().len();
    fails(&env, 1, &["apply", "none.yaml", "--set", "pipeline"], &["DELETE_GUARD", "--force"]).await;
    let diff = done(&env, &["diff", "none.yaml", "--set", "pipeline"]).await;
    assert!(diff.contains("- pipeline/cats") && diff.contains("rules apply --force"), "{diff}");
    fails(
        &env,
        1,
        &["apply", "pets.yaml", "--set", "pipeline", "--expected-revision", "0"],
        &["REVISION_MISMATCH", "rules diff"],
    )
    .await;
    fails(
        &env,
        1,
        &["apply", "wrong.yaml", "--set", "pipeline"],
        &["wrong.yaml:1 a: error AND_KEYWORD", "use: cat dog"],
    )
    .await;
    fails(&env, 2, &["diff", "broken.yaml"], &["broken.yaml: line 1", "nothing was compared or changed"]).await;
    fails(&env, 2, &["apply", "pets.yaml"], &["--set"]).await;
    fails(&env, 1, &["test", "cat AND dog"], &["AND_KEYWORD", "use: cat dog"]).await;
    fails(&env, 4, &["list", "--account", "other"], &["other"]).await;
    let nowhere = ["rules", "list", "--addr", "http://127.0.0.1:1"];
    let ended = run(env.dir(), command(env.dir(), &nowhere)).await.expect("it ends");
    assert!(ended.code == Some(1) && ended.text.contains("is this the gRPC port"), "{ended:?}");
    assert_eq!(env.x.rule_requests().len(), before, "no refusal makes a request");
}

/// Rules that X has already become a file, with the warnings that they cause as allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_at_x_become_file() {
    let existing = |upstream: &mut Upstream| {
        let rule = |value: &str, tag: &str| InitialRule { value: value.to_owned(), tag: Some(tag.to_owned()) };
        upstream.rules = vec![rule("lang:en", "all"), rule("\"it's\" cat", "pets"), rule("dog", "pets")];
    };
    let env = start(existing).await;
    let text = done(&env, &["import"]).await;
    assert!(text.contains("allow: [BROAD_RULE]") && text.contains("name: 'pets-2'"), "{text}");
    let listed = json(&env, &["list", "--state", "unmanaged"]).await;
    assert_eq!(listed["rules"].as_array().map(Vec::len), Some(3), "{listed}");
}

/// A rule is tested on posts of the log, and the evaluator agrees with the simulator on all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logged_posts_test_rule_and_evaluator() {
    let mut env = TestEnv::tuned(|_| (), managed).await;
    eventually("the rules are known", async || json(&env, &["list"]).await["as_of_time"].is_string()).await;
    env.post_mix(60);
    env.all_logged().await;
    let tested = json(&env, &["test", "plain", "--since", "1h"]).await;
    assert!(tested["posts"].as_u64() == Some(60) && tested["matches"].as_u64() > Some(0), "{tested}");
    let shown = done(&env, &["test", "plain", "--samples", "1"]).await;
    assert!(shown.contains("of 60 posts match") && shown.contains("may match more"), "{shown}");
    let calibrated = json(&env, &["calibrate", "--since", "1h"]).await;
    assert_eq!(calibrated["posts"].as_u64(), Some(60), "{calibrated}");
}
