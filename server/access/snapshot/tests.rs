use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::*;
use crate::access::config::{CertificateConfig, RoleLimits, TagsConfig};
use crate::access::{NewToken, PatternVisibility};

fn role(name: &str, accounts: &[&str], rights: &[Right], tags: Option<TagsConfig>) -> RoleConfig {
    RoleConfig {
        name: name.into(),
        accounts: accounts.iter().map(ToString::to_string).collect(),
        rights: rights.to_vec(),
        tags,
        rule_sets: None,
        limits: RoleLimits::default(),
    }
}

fn tags(allow: &[&str], deny: &[&str]) -> Option<TagsConfig> {
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Some(TagsConfig { allow: own(allow), deny: own(deny), untagged: false })
}

fn principal(name: &str, roles: &[&str]) -> PrincipalConfig {
    PrincipalConfig { name: name.into(), roles: roles.iter().map(ToString::to_string).collect() }
}

fn account(name: &str) -> AccountName {
    AccountName::new(name).expect("a name")
}

fn token_file(dir: &Path, entries: &[(&NewToken, &str)]) -> std::path::PathBuf {
    let line =
        |(token, more): &(&NewToken, &str)| format!("  - {{ id: {}, sha256: {}, {more} }}\n", token.id, token.sha256);
    let path = dir.join("tokens.yaml");
    std::fs::write(&path, format!("tokens:\n{}", entries.iter().map(line).collect::<String>())).expect("ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
    path
}

fn headers(values: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, HeaderValue::from_str(value).expect("a header"));
    }
    headers
}

fn certificate(names: &[&str], not_after: i64) -> CertificateNames {
    let names = names.iter().map(|name| (*name).into()).collect();
    CertificateNames { names, digest: [1; 32], not_after: UnixMillis(not_after), serial: None }
}

/// Two tokens, a certificate and anonymous callers, each with a role of its own.
fn config(dir: &Path, good: &NewToken, old: &NewToken) -> AccessConfig {
    let file = token_file(
        dir,
        &[(good, "principal: indexer"), (old, "principal: indexer, not_after: \"2020-01-01T00:00:00Z\"")],
    );
    AccessConfig {
        auth: AuthConfig {
            token_files: vec![file],
            certificates: vec![
                CertificateConfig { san: "spiffe://prod/ns/search/*".into(), principal: "search".into() },
                CertificateConfig { san: "ops.example".into(), principal: "search".into() },
            ],
            ..AuthConfig::default()
        },
        roles: vec![role("reader", &["main"], &[Right::Read], None)],
        principals: vec![principal("indexer", &["reader"]), principal("search", &["reader"])],
        open: OpenAccess::All,
        ..AccessConfig::default()
    }
}

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

#[test]
fn offered_credential_decides_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let (good, old, other) =
        (NewToken::new([1; 8], [1; 32]), NewToken::new([2; 8], [2; 32]), NewToken::new([3; 8], [3; 32]));
    let mut config = config(dir.path(), &good, &old);
    config.auth.anonymous.roles = vec!["reader".into()];
    let access = Access::load(&config).expect("good files");
    let known = certificate(&["spiffe://prod/ns/search/sa/a"], NOW.0 + 1);
    let asked = |values: &[&str], own: Option<&CertificateNames>| {
        let values: Vec<String> = values.iter().map(|token| format!("Bearer {token}")).collect();
        access.authenticate(&headers(&values), own, NOW).map(|own| own.principal.to_string())
    };
    assert_eq!(asked(&[&good.token], None), Ok("indexer".into()));
    assert_eq!(asked(&[&good.token], Some(&known)), Ok("indexer".into()), "the header comes first");
    assert_eq!(asked(&[], Some(&known)), Ok("search".into()));
    assert_eq!(asked(&[], None), Ok(String::new()), "anonymous");
    for own in [None, Some(&known)] {
        assert_eq!(asked(&[&other.token], own), Err(AuthError::Invalid), "never the certificate, never anonymous");
        assert_eq!(asked(&[&old.token], own), Err(AuthError::Expired));
        assert_eq!(asked(&[&good.token, &good.token], own), Err(AuthError::Invalid));
    }
    for names in [
        &["spiffe://prod/ns/search-evil/sa/a"][..],
        &["spiffe://prod/ns/search"],
        &["ops.example.evil"],
        &["OPS.EXAMPLE"],
        &[],
    ] {
        assert_eq!(asked(&[], Some(&certificate(names, NOW.0 + 1))), Err(AuthError::Invalid), "{names:?}");
    }
    assert_eq!(asked(&[], Some(&certificate(&["ops.example"], NOW.0 + 1))), Ok("search".into()));
    assert_eq!(asked(&[], Some(&certificate(&["ops.example"], NOW.0))), Err(AuthError::Expired));
}

#[test]
fn anonymous_callers_have_rights_only_where_configured() {
    let dir = tempfile::tempdir().expect("a directory");
    let (good, old) = (NewToken::new([1; 8], [1; 32]), NewToken::new([2; 8], [2; 32]));
    let with_tokens = config(dir.path(), &good, &old);
    let anonymous = |config: &AccessConfig| {
        let access = Access::load(config).expect("good files");
        let credential = access.authenticate(&HeaderMap::new(), None, NOW)?;
        Ok::<_, AuthError>(access.grant(&credential, &account("main")))
    };
    assert_eq!(anonymous(&with_tokens), Err(AuthError::Missing), "an authenticator ends open access");
    let open = |open| anonymous(&AccessConfig { open, ..AccessConfig::default() });
    assert_eq!(open(OpenAccess::None), Err(AuthError::Missing));
    assert_eq!(open(OpenAccess::All), Ok(Grant::ALL));
    // What a client offers to a gateway that cannot verify it changes nothing, as before there were credentials.
    let access = Access::load(&AccessConfig { open: OpenAccess::All, ..AccessConfig::default() }).expect("no files");
    let offered = headers(&["Bearer secret".to_owned(), "Basic eDp5".to_owned()]);
    assert_eq!(access.authenticate(&offered, None, NOW), Ok(Credential::anonymous()));
    let read = open(OpenAccess::Read).expect("accepted");
    assert_eq!(Right::ALL.map(|right| read.allows(right)), [true, false, false, false, false, false]);
    assert_eq!(read.tags, None);
}

#[test]
fn grants_are_united_and_denials_win() {
    let roles = vec![
        role("cats", &["main", "eu-*"], &[Right::Read], tags(&["cats", "news.*"], &["news.internal.*"])),
        role("internal", &["main"], &[Right::Read, Right::Recover], tags(&["news.internal.*", "dogs"], &[])),
        role("all", &["us"], &[Right::Read, Right::Admin], None),
        role("blind", &["dark"], &[Right::Read], tags(&["x"], &["x"])),
    ];
    let config = AccessConfig { roles, ..AccessConfig::default() };
    let roles: Vec<Arc<Role>> = config.roles.iter().map(|role| Arc::new(Role::new(role))).collect();
    let own = Principal { roles, is_unrestricted: false, narrowed_to: None };
    let main = own.grant(&account("main"));
    assert!(main.allows(Right::Read) && main.allows(Right::Recover) && !main.allows(Right::Admin));
    for (tag, is_visible) in
        [("cats", true), ("dogs", true), ("news.a", true), ("news.internal.a", false), ("birds", false)]
    {
        assert_eq!(main.is_tag_visible(tag), is_visible, "{tag}");
    }
    let eu = own.grant(&account("eu-1"));
    assert!(eu.allows(Right::Read) && !eu.allows(Right::Recover) && !eu.is_tag_visible("dogs"));
    let pattern = TagPattern::parse("news.*");
    assert_eq!(eu.tags.expect("restricted").visibility(&pattern), PatternVisibility::Partial);
    assert_eq!(own.grant(&account("us")).tags, None, "a role without tags sees everything");
    assert!(!own.grant(&account("dark")).allows(Right::Read), "nothing is visible there");
    assert_eq!(own.grant(&account("asia")).rights, RightSet::default());
}

/// Only the same secret is the same credential: an entry that was replaced revokes the old one.
#[test]
fn replaced_and_removed_tokens_are_not_accepted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (good, old) = (NewToken::new([1; 8], [1; 32]), NewToken::new([2; 8], [2; 32]));
    let config = config(dir.path(), &good, &old);
    let access = Access::load(&config).expect("good files");
    let bearer = headers(&[format!("Bearer {}", good.token)]);
    let credential = access.authenticate(&bearer, None, NOW).expect("accepted");
    assert!(access.principal(&credential).is_some());
    for (entry, is_accepted) in [
        ((&NewToken::new([1; 8], [9; 32]), "principal: indexer"), false),
        ((&good, "principal: search"), false),
        ((&old, "principal: indexer"), false),
        ((&good, "principal: indexer"), true),
    ] {
        token_file(dir.path(), &[entry]);
        let next = Access::load(&config).expect("good files");
        assert_eq!(next.principal(&credential).is_some(), is_accepted, "{}", entry.1);
    }
    token_file(dir.path(), &[(&good, "principal: stranger")]);
    let faults = Access::load(&config).expect_err("the principal is unknown");
    assert!(faults[0].text.contains("\"stranger\""), "{faults:?}");
}

/// A revoked certificate or JWT is refused, and is no credential of a running stream any more.
#[test]
fn revoked_credentials_are_not_accepted() {
    use crate::access::CertificateSerial;
    let dir = tempfile::tempdir().expect("a directory");
    let (good, old) = (NewToken::new([1; 8], [1; 32]), NewToken::new([2; 8], [2; 32]));
    let mut config = config(dir.path(), &good, &old);
    let of_serial = |serial: &[u8]| CertificateNames {
        serial: Some(Arc::new(CertificateSerial::new(b"issuer", serial))),
        ..certificate(&["ops.example"], NOW.0 + 1)
    };
    let access = Access::load(&config).expect("good files");
    let credentials = [&[0x0a_u8, 0x1b][..], &[0x00, 0xff]]
        .map(|serial| access.authenticate(&HeaderMap::new(), Some(&of_serial(serial)), NOW).expect("accepted before"));
    let path = dir.path().join("revoked.yaml");
    std::fs::write(&path, "revoked:\n  - { serial: \"FF\" }\n").expect("ours");
    config.auth.revoked_file = Some(path.clone());
    let next = Access::load(&config).expect("good files");
    assert_ne!(access, next, "running streams are checked again");
    assert!(config.files().any(|file| *file == path), "the file is compared at each look");
    assert_eq!(credentials.map(|own| next.principal(&own).is_some()), [true, false]);
    assert_eq!(next.authenticate(&HeaderMap::new(), Some(&of_serial(&[0xff])), NOW), Err(AuthError::Invalid));
    assert!(next.authenticate(&HeaderMap::new(), Some(&of_serial(&[0x0a, 0x1b])), NOW).is_ok());
    std::fs::write(&path, "revoked: [7]").expect("ours");
    assert!(Access::load(&config).is_err(), "a fault keeps the last good one");
}
