//! Rules of files.

use std::path::{Path, PathBuf};

use super::*;

fn write(file: &Path, rules: &[WantedRule]) {
    let entry = |rule: &WantedRule| format!("- {{name: {}, value: {}, tag: {}}}\n", rule.name, rule.value, rule.tag);
    std::fs::write(file, rules.iter().map(entry).collect::<String>()).expect("the directory is ours");
}

/// A gateway whose rules are those of a file.
async fn start_with(rules: &[WantedRule]) -> (TestEnv, Client, PathBuf) {
    let mut env = TestEnv::without_gateway(Clock::system(), bare, managed);
    let file = env.dir().join("rules.yaml");
    write(&file, rules);
    env.settings.accounts[0].rules.files = vec![file.clone()];
    env.settings.rules.files_interval = Duration::from_secs(1);
    env.start_gateway().await;
    env.connected().await;
    let client = client(&env).await;
    (env, client, file)
}

async fn problem(client: &mut Client) -> String {
    overview(client).await.problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_applied_when_they_change() {
    let (mut env, before, file) = start_with(&wanted("v", 5)).await;
    answered(&env.x, &before, 2).await;
    converged(&before).await;
    write(&file, &wanted("w", 5));
    answered(&env.x, &before, 4).await;
    converged(&before).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("w", 5)));
    env.restart_gateway().await;
    let mut client = client(&env).await;
    converged(&client).await;
    assert_eq!(env.x.rule_requests().len(), 4, "a restart makes no request");
    let owned = try_apply(&mut client, "config", wanted("x", 5), forced()).await;
    refused(owned, Code::FailedPrecondition, "SET_OWNED");
    let plan = try_apply(&mut client, "config", wanted("x", 5), planned()).await.expect("planned").plan;
    assert_eq!(plan.expect("set").requests, 2);
}

/// A failed mount, an emptied map, or a truncated file must not empty the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_files_delete_nothing() {
    let (env, mut client, file) = start_with(&wanted("v", 40)).await;
    converged(&client).await;
    let used = env.x.rule_requests().len();
    for damage in [Some(""), Some("- {name"), Some("[]"), None] {
        match damage {
            Some(text) => std::fs::write(&file, text).expect("ours"),
            None => std::fs::remove_file(&file).expect("ours"),
        }
        eventually("the file is refused", async || !problem(&mut client).await.is_empty()).await;
        assert!(!overview(&mut client).await.converged, "{damage:?}");
        write(&file, &wanted("v", 40));
        eventually("the file is accepted", async || problem(&mut client).await.is_empty()).await;
    }
    // More than the guard allows.
    write(&file, &wanted("v", 10));
    eventually("the file is refused", async || problem(&mut client).await.contains("removes 30 rules")).await;
    assert_eq!((env.x.rules().len(), env.x.rule_requests().len()), (40, used));
    // An operator means it.
    let applied = try_apply(&mut client, "config", wanted("v", 10), forced()).await.expect("the rules of the files");
    ended(&mut client, applied.operation).await;
    converged(&client).await;
    assert_eq!(values_at_x(&env.x), values(&wanted("v", 10)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_gathered_into_one_request() {
    let mut env = TestEnv::without_gateway(Clock::system(), bare, managed);
    env.settings.rules.coalesce_interval = Duration::from_secs(4);
    env.settings.rules.coalesce_max = Duration::from_secs(60);
    env.start_gateway().await;
    env.connected().await;
    let mut client = super::client(&env).await;
    let mut last = None;
    for n in 1..=5 {
        let applied =
            try_apply(&mut client, "pets", wanted("v", n), RuleChangeOptions::default()).await.expect("valid");
        last = applied.operation;
    }
    assert_eq!(ended(&mut client, last).await.requests, 1, "five changes are one request");
    assert_eq!(values_at_x(&env.x), values(&wanted("v", 5)));
    answered(&env.x, &client, 2).await;
}
