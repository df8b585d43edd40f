//! Constraints of JWT issuers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::settings::Settings;
use super::validator::{NAME, Validator, is_bare_of_user, is_name, role_names};
use crate::access::jwt::{JwtConfig, JwtKeysConfig};
use crate::xapi::is_local;

/// Maximum issuers: each is fetched on its own.
const ISSUERS_MAX: usize = 100;
/// Maximum audiences, and entries of a role mapping, of an issuer.
const ENTRIES_MAX: usize = 1_000;
/// Longest lifetime that can be a limit: a year, as `humantime` has it.
const LIFETIME_MAX: Duration = Duration::from_secs(31_557_600);

/// Reports violated constraints.
pub(super) fn issuers(settings: &Settings, found: &mut Validator) {
    let all = &settings.auth.jwt;
    found.check(all.len() <= ISSUERS_MAX, "auth.jwt", format!("at most {ISSUERS_MAX} issuers are allowed"));
    let (mut names, mut issuers) = (BTreeSet::new(), BTreeSet::new());
    for (n, own) in all.iter().enumerate().take(ISSUERS_MAX) {
        let path = format!("auth.jwt[{n}]");
        found.check(is_name(&own.name), format!("{path}.name"), NAME);
        found.check(names.insert(&own.name), format!("{path}.name"), "another issuer has this name");
        found.check(!own.issuer.is_empty(), format!("{path}.issuer"), "this must be the claim `iss` of its tokens");
        found.check(issuers.insert(&own.issuer), format!("{path}.issuer"), "another entry has this issuer");
        issuer(own, &path, found);
        keys(&own.keys, &format!("{path}.keys"), found);
        role_names(settings, &own.default_roles, &format!("{path}.default_roles"), found);
        for (r, mapping) in own.roles.iter().enumerate().take(ENTRIES_MAX) {
            let path = format!("{path}.roles[{r}]");
            found.check(!mapping.claim.is_empty(), format!("{path}.claim"), "this must name a claim");
            let is_known = settings.roles.iter().any(|role| role.name == mapping.role);
            found.check(is_known, format!("{path}.role"), "no role has this name; add it to `roles`");
        }
    }
}

fn issuer(own: &JwtConfig, path: &str, found: &mut Validator) {
    let text = "this must have at least one audience: a token for another service would be accepted here";
    let is_good = !own.audiences.is_empty() && own.audiences.iter().all(|audience| !audience.is_empty());
    found.check(is_good, format!("{path}.audiences"), text);
    for (name, count) in [("audiences", own.audiences.len()), ("roles", own.roles.len())] {
        found.check(count <= ENTRIES_MAX, format!("{path}.{name}"), format!("at most {ENTRIES_MAX} are allowed"));
    }
    found.check(!own.algorithms.is_empty(), format!("{path}.algorithms"), "this must have at least one algorithm");
    let lifetime = own.lifetime_max;
    let is_good = lifetime.is_zero() || (Duration::from_secs(1)..=LIFETIME_MAX).contains(&lifetime);
    let text = "this must be 0s (any lifetime), or between 1s and 1year";
    found.check(is_good, format!("{path}.lifetime_max"), text);
    let has_claim = own.tags_claim.as_ref().is_none_or(|claim| !claim.is_empty());
    found.check(has_claim, format!("{path}.tags_claim"), "this must name a claim");
}

fn keys(keys: &JwtKeysConfig, path: &str, found: &mut Validator) {
    let text = "give exactly one of url and file";
    found.check(keys.url.is_some() != keys.file.is_some(), path, text);
    for (name, file) in [("file", &keys.file), ("ca_file", &keys.ca_file), ("bearer_file", &keys.bearer_file)] {
        let is_named = file.as_ref().is_none_or(|file| !file.as_os_str().is_empty());
        found.check(is_named, format!("{path}.{name}"), "this must name a file");
        let has_use = name == "file" || file.is_none() || keys.url.is_some();
        found.check(has_use, format!("{path}.{name}"), "this has no effect without `url`");
    }
    let Some(url) = &keys.url else { return };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local(url));
    let text =
        "this must be an https URL: keys that are changed in transit could sign tokens; http is for loopback only";
    found.check(is_safe, format!("{path}.url"), text);
    let text = "this must have no user and no password; use bearer_file";
    found.check(is_bare_of_user(url), format!("{path}.url"), text);
}
