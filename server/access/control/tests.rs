use super::*;
use crate::access::config::{PrincipalConfig, RoleConfig, RoleLimits, TagsConfig};
use crate::access::{AccessConfig, AuthConfig, NewToken};

struct Env {
    dir: tempfile::TempDir,
    token: NewToken,
    control: Arc<AccessControl>,
}

fn config(dir: &std::path::Path, allow: Option<&[&str]>, accounts: &[&str]) -> AccessConfig {
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let tags = allow.map(|allow| TagsConfig { allow: own(allow), ..TagsConfig::default() });
    AccessConfig {
        auth: AuthConfig { token_files: vec![dir.join("tokens.yaml")], ..AuthConfig::default() },
        roles: vec![RoleConfig {
            name: "r".into(),
            accounts: own(accounts),
            rights: vec![Right::Read],
            tags,
            rule_sets: None,
            limits: RoleLimits::default(),
        }],
        principals: vec![PrincipalConfig { name: "p".into(), roles: own(&["r"]) }],
        ..AccessConfig::default()
    }
}

impl Env {
    fn new(not_after: &str) -> Self {
        let (dir, token) = (tempfile::tempdir().expect("a directory"), NewToken::new([1; 8], [1; 32]));
        let text = format!(
            "tokens:\n  - {{ id: {}, sha256: {}, principal: p, not_after: \"{not_after}\" }}\n",
            token.id, token.sha256
        );
        std::fs::write(dir.path().join("tokens.yaml"), text).expect("ours");
        let access = Access::load(&config(dir.path(), None, &["main"])).expect("good");
        let clock = Clock::system();
        Self { dir, token, control: Arc::new(AccessControl::new(access, clock, LimitMetrics::default())) }
    }

    fn watch(&self) -> AccessWatch {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", self.token.token).parse().expect("a header"));
        let own = self.control.authenticate(&headers, None).expect("accepted");
        let account = AccountName::new("main").expect("a name");
        let tags = own.grant(&account).tags;
        let permit = own.open_session(Duration::ZERO).expect("no limit");
        self.control.watch(own.credential, account, tags, permit)
    }

    fn replace(&self, allow: Option<&[&str]>, accounts: &[&str]) -> bool {
        self.control.replace(Access::load(&config(self.dir.path(), allow, accounts)).expect("good"))
    }
}

#[test]
fn running_stream_is_checked_at_each_change() {
    let env = Env::new("2100-01-01T00:00:00Z");
    let mut watch = env.watch();
    assert_eq!(watch.check(), None);
    assert!(!env.replace(None, &["main"]), "nothing has changed");
    assert!(env.replace(None, &["main", "eu"]), "another account");
    assert_eq!(watch.check(), None);
    assert!(env.replace(Some(&["cats"]), &["main"]));
    assert_eq!(watch.check(), Some(AccessEnd::RightsChanged));
    let mut narrow = env.watch();
    assert_eq!(narrow.check(), None);
    env.replace(None, &["main"]);
    assert_eq!(narrow.check(), Some(AccessEnd::RightsChanged), "wider is a change too: the client resumes with more");
    let mut watch = env.watch();
    env.replace(None, &["eu"]);
    assert_eq!(watch.check(), Some(AccessEnd::AccessRevoked));
    env.replace(None, &["main"]);
    let mut watch = env.watch();
    std::fs::write(env.dir.path().join("tokens.yaml"), "tokens: []").expect("ours");
    env.replace(None, &["main"]);
    assert_eq!(watch.check(), Some(AccessEnd::Revoked));
}

/// A change between the authentication of a call and the begin of its stream is not missed.
#[test]
fn change_before_watch_is_seen() {
    let env = Env::new("2100-01-01T00:00:00Z");
    let account = AccountName::new("main").expect("a name");
    let AccessWatch { credential, permit, .. } = env.watch();
    env.replace(None, &["eu"]);
    assert_eq!(env.control.watch(credential, account, None, permit).check(), Some(AccessEnd::AccessRevoked));
}

/// X's `Date` moves upstream time, never the time of credentials.
#[test]
fn upstream_date_does_not_prolong_credentials() {
    let clock = Clock::system();
    let soon = UnixMillis(clock.system_now().0 + 60_000);
    let time = jiff::Timestamp::from_millisecond(soon.0).expect("a time").to_string();
    let env = Env::new(&time);
    let mut watch = env.watch();
    let year = std::time::Duration::from_secs(365 * 86_400);
    env.control.clock.set_offset_ms(i64::try_from(year.as_millis()).expect("a year"));
    assert_eq!(watch.check(), None, "a year ahead");
    env.control.clock.set_offset_ms(-i64::try_from(year.as_millis()).expect("a year"));
    assert!(watch.remaining().is_some_and(|left| left <= std::time::Duration::from_secs(60)), "a year behind");
}
