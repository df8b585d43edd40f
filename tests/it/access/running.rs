//! Running sessions whose right ends or changes.

use powerstream_gateway::access::PrincipalConfig;
use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::proto::DrainReason;
use powerstream_gateway::proto::subscribe_response::Frame;
use rustix::process::Signal;
use tonic::Code;

use super::{ALL, CATS, Secret, configure, gateway, subscribe, tags_of, write_tokens};
use crate::harness::process::Gateway;
use crate::harness::{TestEnv, after, end_of, eventually, filters, last_token, latest, reason};

/// Ten principals with the same rights.
const TEAMS: [&str; 10] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"];
/// Sessions of each.
const SESSIONS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_token_ends_its_sessions_only() {
    let secrets: Vec<Secret> = (1..).zip(TEAMS).map(|(number, team)| Secret::new(team, number)).collect();
    let mut env = TestEnv::without_gateway(
        Clock::system(),
        |_| (),
        |settings| {
            configure(settings);
            let own = |name: &str| PrincipalConfig { name: name.into(), roles: vec![ALL.into()] };
            settings.principals.extend(TEAMS.map(own));
        },
    );
    write_tokens(env.dir(), &secrets.iter().collect::<Vec<_>>());
    env.start_gateway().await;
    env.connected().await;
    let mut client = env.client().await;
    let mut streams = Vec::new();
    for secret in &secrets {
        for _ in 0..SESSIONS {
            streams.push((secret, subscribe(&mut client, secret, latest(&filters::all())).await.expect("it begins")));
        }
    }
    env.post(&[&["cats"]]);
    for (_, stream) in &mut streams {
        assert_eq!(tags_of(stream, 1).await, ["cats"]);
    }
    write_tokens(env.dir(), &secrets[1..].iter().collect::<Vec<_>>());
    let mut tokens = Vec::new();
    let begin = Clock::system().system_now();
    for (_, stream) in streams.iter_mut().filter(|(secret, _)| secret.principal == TEAMS[0]) {
        let (_, end) = end_of(stream).await;
        assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_REVOKED"));
        tokens.push(last_token(&end).to_owned());
    }
    assert_eq!(tokens.len(), SESSIONS);
    eprintln!("{SESSIONS} sessions ended within {:?}", Clock::system().system_now().since(begin));
    let refused = subscribe(&mut client, &secrets[0], latest(&filters::all())).await.expect_err("refused");
    assert_eq!(reason(&refused), "CREDENTIALS_INVALID");
    env.post(&[&["dogs"]]);
    for (_, stream) in streams.iter_mut().filter(|(secret, _)| secret.principal != TEAMS[0]) {
        assert_eq!(tags_of(stream, 1).await, ["dogs"], "the others continue");
    }
    // With another credential, each subscription continues exactly where it ended.
    for token in tokens.iter().step_by(10) {
        let mut resumed = subscribe(&mut client, &secrets[1], after(token, &filters::all())).await.expect("it resumes");
        assert_eq!(tags_of(&mut resumed, 1).await, ["dogs"]);
    }
}

/// A file that changes while a reload of its last change ends is not taken for the one that was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_right_after_reload_is_found() {
    let [all, other] = [Secret::new(ALL, 1), Secret::new(ALL, 2)];
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    env.settings.reload.interval = std::time::Duration::from_millis(100);
    write_tokens(env.dir(), &[&all]);
    env.start_gateway().await;
    let client = env.client().await;
    let is_accepted = async || subscribe(&mut client.clone(), &other, latest(&filters::all())).await.is_ok();
    for round in 0..20 {
        write_tokens(env.dir(), &[&all, &other]);
        eventually(&format!("the token is accepted, round {round}"), is_accepted).await;
        write_tokens(env.dir(), &[&all]);
        eventually(&format!("the token is refused, round {round}"), async || !is_accepted().await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiry_is_announced_and_ends_session() {
    let mut secret = Secret::new(ALL, 1);
    secret.not_after = Some(UnixMillis(Clock::system().system_now().0 + 3_000));
    let env = gateway(&[&secret]).await;
    let mut client = env.client().await;
    let mut stream = subscribe(&mut client, &secret, latest(&filters::all())).await.expect("it begins");
    let (frames, end) = end_of(&mut stream).await;
    assert_eq!((end.code(), reason(&end)), (Code::Unauthenticated, "CREDENTIALS_EXPIRED"));
    assert!(!last_token(&end).is_empty());
    let announced: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Draining(draining) => Some(draining.reason()),
            _ => None,
        })
        .collect();
    assert_eq!(announced, [DrainReason::CredentialsExpire], "once");
    assert!(Clock::system().system_now() >= secret.not_after.expect("it has an end"), "not before");
}

/// A reload changes rights as a whole or not at all, and reports what needs a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_changes_rights_and_keeps_last_good() {
    let [all, cats] = [Secret::new(ALL, 1), Secret::new(CATS, 2)];
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    write_tokens(env.dir(), &[&all, &cats]);
    env.settings.reload.interval = std::time::Duration::from_secs(60);
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut client = gateway.client().await;
    let mut narrow = subscribe(&mut client, &cats, latest(&filters::all())).await.expect("it begins");
    let mut wide = subscribe(&mut client, &all, latest(&filters::all())).await.expect("it begins");
    env.post(&[&["cats"], &["dogs"]]);
    assert_eq!(tags_of(&mut narrow, 1).await, ["cats"]);
    assert_eq!(tags_of(&mut wide, 2).await, ["cats", "dogs"]);
    let config = env.dir().join("gateway.yaml");
    let good = std::fs::read_to_string(&config).expect("it was written");
    let logged = |text: &str| gateway.log().contains(text);
    // Half a file.
    std::fs::write(&config, &good[..good.len() / 2]).expect("ours");
    gateway.signal(Signal::HUP);
    eventually("the fault is logged", async || logged("failed to reload configuration")).await;
    env.post(&[&["cats"]]);
    assert_eq!(tags_of(&mut narrow, 1).await, ["cats"], "the last good one stays");
    assert_eq!(tags_of(&mut wide, 1).await, ["cats"]);
    // The right of one role changes, and a setting that needs a restart.
    let mut settings = env.settings.clone();
    settings.telemetry.log_format = powerstream_gateway::telemetry::LogFormat::Json;
    settings.roles[1].tags.as_mut().expect("restricted").allow.push("dogs".into());
    settings.hub.sessions_max += 1;
    std::fs::write(&config, settings.render()).expect("ours");
    gateway.signal(Signal::HUP);
    let (_, end) = end_of(&mut narrow).await;
    assert_eq!((end.code(), reason(&end)), (Code::Unavailable, "RIGHTS_CHANGED"));
    env.post(&[&["dogs"]]);
    assert_eq!(tags_of(&mut wide, 1).await, ["dogs"], "a principal whose rights are the same continues");
    let mut resumed =
        subscribe(&mut client, &cats, after(last_token(&end), &filters::all())).await.expect("it resumes");
    assert_eq!(tags_of(&mut resumed, 1).await, ["dogs"]);
    eventually("what was changed is logged", async || logged("hub.sessions_max")).await;
    // The account is taken away.
    settings.roles[1].accounts = vec!["elsewhere".into()];
    std::fs::write(&config, settings.render()).expect("ours");
    gateway.signal(Signal::HUP);
    let (_, end) = end_of(&mut resumed).await;
    assert_eq!((end.code(), reason(&end)), (Code::PermissionDenied, "ACCESS_REVOKED"));
}

/// Keys of resume tokens are rotated while sessions run: every token is accepted while its key is listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_keys_rotate_under_running_session() {
    let all = Secret::new(ALL, 1);
    let mut env = TestEnv::without_gateway(Clock::system(), |_| (), configure);
    write_tokens(env.dir(), &[&all]);
    let key = |name: &str, byte: u8| {
        let path = env.dir().join(name);
        std::fs::write(&path, [byte; 32]).expect("ours");
        path
    };
    let [old, new] = [key("old", b'o'), key("new", b'n')];
    env.settings.token_key_files = vec![old.clone()];
    let gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut client = gateway.client().await;
    let mut running = subscribe(&mut client, &all, latest(&filters::all())).await.expect("it begins");
    let mut tokens = Vec::new();
    let mut settings = env.settings.clone();
    let steps = [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()], vec![new.clone()]];
    for (step, files) in (1..).zip(steps) {
        env.post(&[&["cats"]]);
        let mut token = String::new();
        while !super::token_after_post(&mut running, &mut token).await {}
        tokens.push(token);
        settings.token_key_files = files;
        std::fs::write(env.dir().join("gateway.yaml"), settings.render()).expect("ours");
        gateway.signal(Signal::HUP);
        eventually("it is reloaded", async || gateway.log().matches("configuration reloaded").count() == step).await;
        let accepted = tokens.iter().filter(|token| !token.is_empty());
        for (n, token) in accepted.enumerate() {
            let resumed = subscribe(&mut client, &all, after(token, &filters::all())).await;
            // The first two were signed by the old key, which is gone at the end.
            match resumed {
                Err(refused) => assert_eq!((step, n < 2, reason(&refused)), (3, true, "TOKEN_INVALID")),
                Ok(mut resumed) => {
                    assert!(step < 3 || n == 2, "step {step}, token {n}");
                    if n + 1 < tokens.len() {
                        assert_eq!(tags_of(&mut resumed, 1).await, ["cats"], "the post after its position");
                    }
                }
            }
        }
    }
    env.post(&[&["dogs"]]);
    assert_eq!(tags_of(&mut running, 1).await, ["dogs"], "the session continued");
}
