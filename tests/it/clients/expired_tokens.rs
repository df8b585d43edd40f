//! A token that is older than anything the gateway, or X, can give.

use std::time::Duration;

use powerstream_gateway::model::UnixMillis;
use powerstream_gateway::simulator::SentPost;

use super::example::Example;
use super::language::Language;
use super::printed::assert_is;
use super::security::{Presents, Security};
use crate::harness::{Lost, eventually};

const HOUR: i64 = 3_600;
/// Seconds after the token within which there are no posts.
const NEAR: u64 = 90;
/// Posts a second while the consumer was away: about a thousand.
const POSTS: f64 = 0.01;

pub async fn too_old_token_follows_resume_policy(language: Language) {
    let mut lost = Lost::for_seconds(30 * HOUR, NEAR, POSTS, |_| ()).await;
    let begun = &lost.own.env;
    eventually("the log has begun", async || begun.metric("posts_appended_total") > 0.0).await;
    let env = &mut lost.own.env;
    env.stop_gateway().await;
    let dir = env.dir().to_owned();
    let security = Security::write(&dir, &mut env.settings, Presents::Token);
    // The clock of the gateway is fast, the handshake is not.
    env.settings.grpc.tls.handshake_timeout = Duration::from_secs(600);
    lost.own.start().await;
    let (env, flags) = (&lost.own.env, security.flags());
    let example = |policy: &str| {
        let dir = env.dir().join(policy);
        std::fs::create_dir(&dir).expect("the directory is ours");
        let example = Example::new(language, &dir, &env.app().grpc_address().to_string());
        example.set_cursor(&lost.consumer.token);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        example.with(&["--resume-policy", policy]).with(&flags)
    };
    let (mut fail, mut earliest, mut latest) = (example("fail"), example("earliest"), example("latest"));
    for example in [&mut fail, &mut earliest, &mut latest] {
        example.start();
    }

    fail.ends_with(5).await;
    let words = fail.life().stderr();
    assert!(words.contains("error: POSITION_TOO_OLD: "), "{words}");
    assert!(words.contains("; --resume-policy earliest or latest continues without them"), "{words}");
    assert_eq!(fail.life().all_lines(), [], "it prints nothing");
    assert_eq!(fail.cursor().as_deref(), Some(lost.consumer.token.as_str()), "its cursor is what it was");

    for clamped in [&mut earliest, &mut latest] {
        clamped.reports(": clamped\n").await;
        clamped.reports("\nmissing: from ").await;
    }
    let new = lost.own.env.post_mix(20);
    for clamped in [&mut earliest, &mut latest] {
        let last = new.last().expect("there are some").post_id.0;
        clamped.until("the new posts come", |life| life.lines().iter().any(|line| line.post_id() == last)).await;
        let missing = missing_to(&clamped.life().stderr());
        let after: Vec<SentPost> =
            lost.own.env.x.sent_posts().into_iter().filter(|post| post.created >= missing).collect();
        assert!(after.len() >= new.len(), "what is new is not missing");
        let lines = clamped.life().lines().iter().filter(|line| line.event_time_ms() >= missing.0);
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), after.len(), "{}: all that lies after what is missing", language.name());
        for (line, post) in lines.into_iter().zip(&after) {
            assert_is(language.name(), line, post);
        }
        clamped.stop().await;
    }
}

/// End of the missing range that the example reports.
fn missing_to(words: &str) -> UnixMillis {
    let line = words.lines().find_map(|line| line.strip_prefix("missing: from ")).expect("it reports what is missing");
    let (from, to) = line.split_once(" to ").expect("both ends are reported");
    let [from, to] = [from, to].map(|time| time.parse::<jiff::Timestamp>().expect("it is RFC 3339").as_millisecond());
    assert!(to - from > 29 * HOUR * 1_000, "{line}");
    UnixMillis(to)
}
