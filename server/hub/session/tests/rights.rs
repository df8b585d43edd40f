//! Isolation among sessions of one hub: live, replay, page cache and shared batches.

use super::*;
use crate::access::TagRight;
use crate::model::TagPattern;

const TAGS: [&str; 4] = ["a", "ab", "b", "c"];
const TERMS: [&str; 6] = ["a", "a*", "ab", "b", "*", "c"];

/// Allowed, denied, whether untagged posts are visible, tags that are asked for, whether from the beginning.
type Reader = (Vec<&'static str>, Vec<&'static str>, bool, Vec<&'static str>, bool);

fn fits(terms: &[&str], tag: &str) -> bool {
    terms.iter().any(|term| term.strip_suffix('*').map_or(tag == *term, |start| tag.starts_with(start)))
}

fn is_due(reader: &Reader, post: &[&str]) -> bool {
    let (allow, deny, untagged, any_of, _) = reader;
    let is_visible = match post.is_empty() {
        true => *untagged,
        false => post.iter().any(|tag| fits(allow, tag)) && !post.iter().any(|tag| fits(deny, tag)),
    };
    is_visible && (any_of.is_empty() || post.iter().any(|tag| fits(any_of, tag)))
}

fn filter((allow, deny, untagged, any_of, _): &Reader) -> Option<Filter> {
    let parse = |terms: &[&str]| terms.iter().map(|term| TagPattern::parse(term)).collect();
    let right = TagRight::new(parse(allow), parse(deny), *untagged).map(Arc::new);
    let any_of = any_of.iter().map(ToString::to_string).collect();
    Filter::within(&FilterSpec { any_of, ..FilterSpec::default() }, right).ok().map(|(filter, _)| filter)
}

fn terms(max: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&TERMS[..]), 0..max)
}

fn post() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&TAGS[..]), 0..3)
}

/// Reads a session until its cursor has passed the tip.
async fn delivered(session: &mut Session, tip: u64) -> Vec<u64> {
    let mut own = Vec::new();
    loop {
        let frame = session.next().await.expect("the session continues");
        own.extend(sequences(&frame));
        let is_at_tip = matches!(frame.content, FrameContent::Heartbeat(_) | FrameContent::CaughtUp(_));
        if is_at_tip && session.cursor > tip {
            return own;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn sessions_of_different_rights_share_nothing_else(
        readers in prop::collection::vec((terms(3), terms(2), any::<bool>(), terms(2), any::<bool>()), 2..8),
        before in prop::collection::vec(post(), 0..15),
        after in prop::collection::vec(post(), 1..15),
        ring_bytes_max in prop_oneof![Just(1_usize), Just(1 << 20)],
        replay_cache_bytes_max in prop_oneof![Just(0_usize), Just(1 << 20)],
    ) {
        runtime().block_on(async {
            let env = TestEnv::new(Config { ring_bytes_max, replay_cache_bytes_max, ..Config::default() });
            env.post(&before);
            // Each reader twice, so that equal filters share.
            let twice = readers.iter().flat_map(|reader| [reader, reader]);
            let mut open: Vec<(&Reader, Session)> = twice
                .filter_map(|reader| {
                    let start = if reader.4 { Start::Earliest } else { Start::Latest };
                    Some((reader, env.open(filter(reader)?, &start, true)))
                })
                .collect();
            env.post(&after);
            let tip = (before.len() + after.len()) as u64;
            for (reader, session) in &mut open {
                let from = if reader.4 { 0 } else { before.len() };
                let all = before.iter().chain(&after).enumerate().skip(from);
                let due: Vec<u64> =
                    all.filter(|(_, post)| is_due(reader, post)).map(|(at, _)| at as u64 + 1).collect();
                assert_eq!(delivered(session, tip).await, due, "{reader:?} of {before:?} and {after:?}");
            }
        });
    }
}
