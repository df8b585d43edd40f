//! Rights of callers of RuleService.

use powerstream_gateway::access::{PrincipalConfig, Right, RoleConfig, TagsConfig};
use powerstream_gateway::proto::{CancelRuleOperationRequest, RefreshRulesRequest, TestRuleRequest};

use super::*;
use crate::harness::tokens::{Secret, role, tokens_file, write_tokens};

const READER: &str = "reader";
const VIEWER: &str = "viewer";
const TEAM: &str = "team";
const OWNER: &str = "owner";

fn configure(settings: &mut Settings) {
    managed(settings);
    let dir = settings.data_dir.parent().expect("below the directory of the test").to_owned();
    settings.auth.token_files = vec![tokens_file(&dir)];
    let cats = TagsConfig { allow: vec!["cats".to_owned()], ..TagsConfig::default() };
    let (read, write) = ([Right::Read, Right::RulesRead], [Right::Read, Right::RulesRead, Right::RulesWrite]);
    settings.roles = vec![
        role(READER, "main", &[Right::Read]),
        RoleConfig { tags: Some(cats), ..role(VIEWER, "main", &read) },
        RoleConfig { rule_sets: Some(vec!["team-*".to_owned()]), ..role(TEAM, "main", &write) },
        role(OWNER, "main", &write),
    ];
    let own = |name: &str| PrincipalConfig { name: name.into(), roles: vec![name.into()] };
    settings.principals = [READER, VIEWER, TEAM, OWNER].map(own).into();
}

async fn gateway(secrets: &[&Secret]) -> (TestEnv, Client) {
    let mut env = TestEnv::without_gateway(Clock::system(), bare, configure);
    write_tokens(env.dir(), secrets);
    env.start_gateway().await;
    env.connected().await;
    let client = client(&env).await;
    (env, client)
}

fn change(set: &str, value: &str, tag: &str, options: RuleChangeOptions) -> ApplyRulesRequest {
    let rules = vec![WantedRule { tag: tag.to_owned(), ..rule("a", value) }];
    ApplyRulesRequest { account: String::new(), set: set.to_owned(), rules, options: Some(options) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_decide_calls_and_sets() {
    let secrets = [Secret::new(READER, 1), Secret::new(VIEWER, 2), Secret::new(TEAM, 3), Secret::new(OWNER, 4)];
    let [reader, viewer, team, owner] = &secrets;
    let (env, mut client) = gateway(&secrets.each_ref()).await;
    let denied = |result: Result<(), Status>| {
        refused(result, Code::PermissionDenied, "ACCESS_DENIED");
    };
    let none = RuleChangeOptions::default;
    denied(client.list_rules(reader.on(ListRulesRequest::default())).await.map(drop));
    let test = TestRuleRequest { value: "cat".to_owned(), ..TestRuleRequest::default() };
    denied(client.test_rule(reader.on(test)).await.map(drop));
    denied(client.apply_rules(viewer.on(change("team-pets", "cat", "cats", none()))).await.map(drop));
    denied(client.apply_rules(team.on(change("pets", "cat", "cats", none()))).await.map(drop));
    let reserve = RuleChangeOptions { use_reserve: true, ..none() };
    denied(client.apply_rules(team.on(change("team-pets", "cat", "cats", reserve))).await.map(drop));
    denied(client.cancel_rule_operation(team.on(CancelRuleOperationRequest::default())).await.map(drop));
    let repair = RefreshRulesRequest { repair: true, ..RefreshRulesRequest::default() };
    denied(client.refresh_rules(team.on(repair)).await.map(drop));
    let accepted = client.apply_rules(team.on(change("team-pets", "cat", "cats", none()))).await;
    assert!(accepted.expect("its own set").into_inner().operation.is_some());
    let accepted = client.apply_rules(owner.on(change("pets", "dog", "dogs", none()))).await;
    assert!(accepted.expect("every set").into_inner().operation.is_some());
    // A caller does not see rules with tags that it may not see.
    let tags = async |client: &mut Client, secret: &Secret| {
        let rules = client.list_rules(secret.on(ListRulesRequest::default())).await.expect("served").into_inner().rules;
        rules.into_iter().map(|rule| rule.tag).collect::<Vec<_>>()
    };
    assert_eq!(tags(&mut client, owner).await, ["dogs", "cats"]);
    assert_eq!(tags(&mut client, viewer).await, ["cats"]);
    eventually("X has both rules", async || env.x.rules().len() == 2).await;
    let audit = std::fs::read_to_string(env.settings.data_dir.join("rules/main.audit.jsonl")).expect("there");
    assert!(audit.contains("\"principal\":\"team\"") && audit.contains("\"principal\":\"owner\""), "{audit}");
}
