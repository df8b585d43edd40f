use std::time::Duration;

use super::*;
use crate::access::jwt::testing::{OWN, key_set};

fn at(seconds: u64) -> Moment {
    Moment::ZERO.plus(Duration::from_secs(seconds))
}

fn set(kid: &str) -> JwtKeySet {
    JwtKeySet::parse(key_set(&[OWN.ed.jwk(kid)]).as_bytes()).expect("a key set")
}

fn cache() -> (KeyCache, JwksConfig) {
    (KeyCache::new("corp".into(), JwtKeysConfig::default()), JwksConfig::default())
}

#[test]
fn fetches_follow_schedule() {
    let (cache, settings) = cache();
    assert!(cache.begin(at(0), &settings), "at the start");
    assert!(!cache.begin(at(1), &settings), "one at a time");
    assert!(cache.finish(Some(set("a"))));
    for second in [1, 10, 599] {
        assert!(!cache.begin(at(second), &settings), "{second}");
    }
    assert_eq!(cache.next_at(at(1), &settings), at(600));
    assert!(cache.begin(at(600), &settings));
    assert!(!cache.finish(Some(set("a"))), "the same keys");
    assert!(cache.begin(at(1_200), &settings));
    assert!(cache.finish(Some(set("b"))), "other keys");
    assert!(cache.begin(at(1_800), &settings));
    assert!(!cache.finish(None));
    assert_eq!(cache.next_at(at(1_801), &settings), at(1_830), "sooner after a failure");
    assert!(!cache.begin(at(1_829), &settings));
    assert!(cache.begin(at(1_830), &settings));
}

#[test]
fn last_good_set_has_maximum_age() {
    let (cache, settings) = cache();
    assert!(cache.keys().is_none());
    assert!(!cache.expire(at(1_000_000), &settings), "there is none");
    cache.begin(at(0), &settings);
    cache.finish(Some(set("a")));
    let day = settings.age_max.as_secs();
    let mut now = 600;
    while now < day {
        assert!(cache.begin(at(now), &settings));
        cache.finish(None);
        assert!(!cache.expire(at(now), &settings), "{now}");
        assert_eq!(cache.keys().as_deref(), Some(&set("a")), "{now}");
        now += 30;
    }
    assert_eq!(cache.next_at(at(day - 1), &settings), at(day));
    assert!(cache.expire(at(day), &settings));
    assert!(!cache.expire(at(day), &settings), "reported once");
    assert!(cache.keys().is_none());
    assert!(cache.last_keys().is_some(), "running sessions continue");
    cache.begin(at(day), &settings);
    assert!(!cache.finish(Some(set("a"))), "no session is affected");
    assert!(cache.keys().is_some());
}

#[test]
fn requests_are_bounded_and_shared() {
    let (cache, settings) = cache();
    let is_fetching = |now| matches!(cache.request(at(now), &settings), KeyRequest::Fetching(_));
    cache.begin(at(0), &settings);
    assert!(is_fetching(0), "the running fetch has the answer");
    cache.finish(Some(set("a")));
    let mut fetches = 0;
    for now in 0..600 {
        for _ in 0..100 {
            let fetching = is_fetching(now);
            if cache.begin(at(now), &settings) {
                assert!(fetching);
                fetches += 1;
                cache.finish(Some(set("a")));
            }
        }
    }
    assert_eq!(fetches, 19, "one each 30 s");
}

#[test]
fn waiting_call_sees_end_of_fetch() {
    let (cache, settings) = cache();
    let KeyRequest::Fetching(mut waiting) = cache.request(at(0), &settings) else { panic!("nothing was fetched yet") };
    assert!(!waiting.has_changed().expect("the cache exists"));
    assert!(cache.begin(at(0), &settings));
    cache.finish(None);
    assert!(waiting.has_changed().expect("the cache exists"));
    waiting.borrow_and_update();
    assert!(cache.has_failed());
    assert!(matches!(cache.request(at(29), &settings), KeyRequest::TooSoon));
}
