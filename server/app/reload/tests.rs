use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::access::{LimitMetrics, NewToken, PrincipalConfig};
use crate::grpc::ConnectionSlots;
use crate::telemetry::LogFilterOverride;

#[test]
fn changed_keys_include_need_of_restart() {
    let started = Settings::default();
    let mut current = started.clone();
    current.hub.ring_bytes_max += 1;
    let mut next = current.clone();
    next.auth.token_files.push("tokens.yaml".into());
    next.grpc.lookups_max += 1;
    let (changed, restart) = changed_keys(&current, &next, &started);
    assert_eq!(changed, ["auth.token_files", "grpc.lookups_max"]);
    assert_eq!(restart, ["grpc.lookups_max", "hub.ring_bytes_max"], "also what changed earlier");
    assert_eq!(changed_keys(&next, &next, &next), (Vec::new(), Vec::new()));
}

/// Writes a token file with one token, and returns its id.
fn write_token(file: &Path, number: u8) -> String {
    let token = NewToken::new([number; 8], [number; 32]);
    let text = format!("tokens:\n  - {{ id: {}, sha256: \"{}\", principal: p }}\n", token.id, token.sha256);
    std::fs::write(file, text).expect("the directory is ours");
    token.id
}

/// What was read is not taken for what was there before: a file may change between the look at it and the read, and change
/// back afterwards.
#[tokio::test]
async fn change_between_look_and_read_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tokens.yaml");
    let first = write_token(&file, 1);
    let mut settings = Settings { data_dir: dir.path().to_owned(), ..Settings::default() };
    settings.auth.token_files = vec![file.clone()];
    settings.principals = vec![PrincipalConfig { name: "p".into(), roles: Vec::new() }];
    settings.reload.interval = Duration::from_millis(5);
    let clock = Clock::system();
    let access = Access::load(&settings.access()).expect("good");
    let access = Arc::new(AccessControl::new(access, clock.clone(), LimitMetrics::default()));
    let (has_changed, loaded, changing) = (AtomicBool::new(false), settings.clone(), file.clone());
    let source: ConfigSource = Arc::new(move || {
        // After the first look, before the token file is read.
        if !has_changed.swap(true, Ordering::Relaxed) {
            write_token(&changing, 2);
        }
        Ok(LoadedConfig { settings: loaded.clone(), origins: ConfigOrigins::default() })
    });
    let gateway = Arc::new(Gateway::new());
    let keyring = Arc::new(keyring(&[], dir.path()).expect("it is made"));
    let effective = Arc::new(EffectiveConfig::new((settings.clone(), None)));
    let parts = (ReloadMetrics::default(), keyring, Vec::new());
    let source = Some((source, None));
    let reloader = Reloader::new(source, &settings, access.clone(), gateway.clone(), parts, effective, clock.clone());
    let live = LiveParts {
        gateway,
        connections: Arc::new(ConnectionSlots::new(&settings.grpc, clock.clone())),
        log_filter: Arc::new(LogFilterOverride::new(&settings.telemetry.log_filter, clock.clone())),
    };
    let shutdown = Shutdown::new();
    let running = tokio::spawn(reloader.run(live, shutdown.clone()));
    let has_first = || access.current().tokens().any(|(id, _)| **id == *first);
    let is = async |expected: bool| {
        let reached = async {
            while has_first() != expected {
                tokio::task::yield_now().await;
            }
        };
        clock.timeout(Duration::from_secs(60), reached).await.expect("in time");
    };
    is(false).await;
    write_token(&file, 1);
    is(true).await;
    shutdown.cancel();
    running.await.expect("it ends in order");
}
