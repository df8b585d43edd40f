//! Constraints of credentials, roles and principals.

use std::collections::{BTreeMap, BTreeSet};

use super::jwt;
use super::settings::Settings;
use super::validator::{NAME, Validator, is_loopback, is_name, role_names};
use crate::access::{AccessConfig, OpenAccess, Right};
use crate::hub::filter::Filter;

/// Maximum roles, principals and certificate names: every call looks through them in memory.
const ENTRIES_MAX: usize = 10_000;
/// Maximum patterns of a role: each is compared with each tag of each post.
const PATTERNS_MAX: usize = 1_000;

impl Settings {
    /// Returns the settings that decide about access.
    pub fn access(&self) -> AccessConfig {
        let open = match () {
            () if is_loopback(self.grpc.address.ip()) => OpenAccess::All,
            () if self.grpc.allow_unauthenticated => OpenAccess::Read,
            () => OpenAccess::None,
        };
        let (auth, roles, principals) = (self.auth.clone(), self.roles.clone(), self.principals.clone());
        let tls = [&self.grpc.tls, &self.admin.tls];
        let crl_files = tls.iter().flat_map(|own| own.crl_files.clone()).collect();
        AccessConfig { auth, crl_files, roles, principals, limits: self.limits, open }
    }

    /// True if clients that reach the gRPC port need a credential, or are given roles without one.
    pub fn has_access_rules(&self) -> bool {
        self.auth.has_authenticator() || !self.auth.anonymous.roles.is_empty()
    }
}

/// Reports violated constraints.
pub(super) fn access(settings: &Settings, found: &mut Validator) {
    roles(settings, found);
    principals(settings, found);
    certificates(settings, found);
    anonymous(settings, found);
    jwt::issuers(settings, found);
}

fn roles(settings: &Settings, found: &mut Validator) {
    found.check(settings.roles.len() <= ENTRIES_MAX, "roles", format!("at most {ENTRIES_MAX} roles are allowed"));
    let mut names = BTreeSet::new();
    for (n, role) in settings.roles.iter().enumerate() {
        found.check(is_name(&role.name), format!("roles[{n}].name"), NAME);
        found.check(names.insert(&role.name), format!("roles[{n}].name"), "another role has this name");
        let text = "this must name at least one account, or a prefix that ends in '*'; '*' is every account";
        found.check(!role.accounts.is_empty(), format!("roles[{n}].accounts"), text);
        found.check(!role.rights.is_empty(), format!("roles[{n}].rights"), "this must contain at least one right");
        patterns(&role.accounts, &format!("roles[{n}].accounts"), found);
        let Some(tags) = &role.tags else { continue };
        patterns(&tags.allow, &format!("roles[{n}].tags.allow"), found);
        patterns(&tags.deny, &format!("roles[{n}].tags.deny"), found);
        let text = "this must allow a tag, or set `untagged`: else the role sees no post; '*' is every tag";
        found.check(!tags.allow.is_empty() || tags.untagged, format!("roles[{n}].tags.allow"), text);
    }
}

fn patterns(patterns: &[String], path: &str, found: &mut Validator) {
    found.check(patterns.len() <= PATTERNS_MAX, path, format!("at most {PATTERNS_MAX} patterns are allowed"));
    for (n, pattern) in patterns.iter().enumerate() {
        let is_good = !pattern.is_empty() && pattern.len() <= Filter::TERM_BYTES_MAX;
        let text = format!("this must have 1 to {} bytes", Filter::TERM_BYTES_MAX);
        found.check(is_good, format!("{path}[{n}]"), text);
    }
}

fn principals(settings: &Settings, found: &mut Validator) {
    let count = settings.principals.len();
    found.check(count <= ENTRIES_MAX, "principals", format!("at most {ENTRIES_MAX} principals are allowed"));
    let mut names = BTreeSet::new();
    for (n, principal) in settings.principals.iter().enumerate() {
        found.check(is_name(&principal.name), format!("principals[{n}].name"), NAME);
        found.check(names.insert(&principal.name), format!("principals[{n}].name"), "another principal has this name");
        role_names(settings, &principal.roles, &format!("principals[{n}].roles"), found);
    }
}

fn certificates(settings: &Settings, found: &mut Validator) {
    let certificates = &settings.auth.certificates;
    let text = format!("at most {ENTRIES_MAX} names are allowed");
    found.check(certificates.len() <= ENTRIES_MAX, "auth.certificates", text);
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, certificate) in certificates.iter().enumerate() {
        let path = format!("auth.certificates[{n}]");
        let san = certificate.san.as_str();
        let is_uri = san.contains("://");
        let is_exact = !san.is_empty() && !san.contains('*');
        let is_prefix = is_uri && san.ends_with("/*") && san.matches('*').count() == 1;
        let text = "this must be a DNS name, a URI, or the start of a URI that ends in '/*'";
        found.check(is_exact || is_prefix, format!("{path}.san"), text);
        found.check(names.insert(san, n).is_none(), format!("{path}.san"), "another entry has this name");
        let is_known = settings.principals.iter().any(|principal| principal.name == certificate.principal);
        let text = "no principal has this name; add it to `principals`";
        found.check(is_known, format!("{path}.principal"), text);
    }
}

/// Callers without a credential: what reaches the port from another machine may only read.
fn anonymous(settings: &Settings, found: &mut Validator) {
    let names = &settings.auth.anonymous.roles;
    role_names(settings, names, "auth.anonymous.roles", found);
    let rights = |name: &str| {
        let named = settings.roles.iter().filter(|role| role.name == name);
        named.flat_map(|role| role.rights.clone()).collect::<Vec<Right>>()
    };
    if is_loopback(settings.grpc.address.ip()) {
        for (n, name) in names.iter().enumerate() {
            let may_admin = rights(name).contains(&Right::Admin);
            let text = "this role has the right `admin`, and any client that reaches admin.address would have it: use a \
                        loopback address there, or give the right to principals with credentials";
            let is_local = is_loopback(settings.admin.address.ip());
            found.check(is_local || !may_admin, format!("auth.anonymous.roles[{n}]"), text);
        }
        return;
    }
    for (n, name) in names.iter().enumerate() {
        let is_harmless = rights(name).iter().all(|right| [Right::Read, Right::Status].contains(right));
        let text = "this role has more rights than `read` and `status`, and any client that reaches grpc.address would \
                    have them: give such rights to principals with credentials";
        found.check(is_harmless, format!("auth.anonymous.roles[{n}]"), text);
    }
}
