//! An immutable snapshot of everything that decides about access: credentials, principals, roles.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::certificate::CertificateNames;
use super::config::{AuthConfig, LimitsConfig, LimitsMode, PrincipalConfig, RoleConfig};
use super::credential::{AuthError, Credential, CredentialKind, bearer};
use super::jwt::{Issuers, JwtError};
use super::limits::Limits;
use super::revocation::Revocations;
use super::right::{Grant, Right, RightSet, TagRight};
use super::token::TokenTable;
use super::{AccessFault, PrincipalName};
use crate::model::{AccountName, TagPattern, UnixMillis};

/// Settings that decide about access.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessConfig {
    /// Credentials.
    pub auth: AuthConfig,
    /// Revocation lists of TLS (`tls.crl_files`).
    pub crl_files: Vec<PathBuf>,
    /// Roles.
    pub roles: Vec<RoleConfig>,
    /// Principals.
    pub principals: Vec<PrincipalConfig>,
    /// Limits of principals.
    pub limits: LimitsConfig,
    /// What callers without a credential may do if `auth` has no setting.
    pub open: OpenAccess,
}

impl AccessConfig {
    /// Returns all files whose contents are a part of the access snapshot.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.auth.files().chain(&self.crl_files)
    }
}

/// What callers without a credential may do where `auth` has no setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenAccess {
    /// Nothing.
    #[default]
    None,
    /// Read everything: `grpc.allow_unauthenticated`.
    Read,
    /// Everything: the gRPC port is on loopback.
    All,
}

/// Credentials, principals and roles at one time.
#[derive(Debug, PartialEq)]
pub struct Access {
    tokens: TokenTable,
    certificates: Vec<(TagPattern, PrincipalName)>,
    issuers: Issuers,
    revoked: Revocations,
    /// Roles by name, for JWTs: their claims name roles.
    roles: BTreeMap<String, Arc<Role>>,
    principals: BTreeMap<PrincipalName, Principal>,
    anonymous: Option<Principal>,
    /// No credential can be verified.
    is_open: bool,
    limits: LimitsConfig,
    /// Refusals of a peer per minute, and how late further ones are answered.
    refusals: (u32, Duration),
}

/// What a principal may do on which accounts.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    roles: Vec<Arc<Role>>,
    is_unrestricted: bool,
    /// Patterns that narrow what the roles allow.
    narrowed_to: Option<Vec<TagPattern>>,
}

#[derive(Debug, PartialEq)]
struct Role {
    name: String,
    accounts: Vec<TagPattern>,
    rights: RightSet,
    allow: Vec<TagPattern>,
    deny: Vec<TagPattern>,
    untagged: bool,
    /// Sets of rules that `rules.write` allows to change; `None`: all.
    rule_sets: Option<Vec<TagPattern>>,
    limits: Limits,
}

impl Access {
    /// Builds a snapshot; reads the token files. Returns all faults.
    pub fn load(config: &AccessConfig) -> Result<Self, Vec<AccessFault>> {
        let mut faults = Vec::new();
        let mut tokens = TokenTable::default();
        config.auth.token_files.iter().for_each(|path| tokens.add_file(path, &mut faults));
        let issuers = Issuers::load(&config.auth, &mut faults);
        let revoked = Revocations::load(config.auth.revoked_file.as_deref(), &config.crl_files, &mut faults);
        let roles: BTreeMap<String, Arc<Role>> =
            config.roles.iter().map(|role| (role.name.clone(), Arc::new(Role::new(role)))).collect();
        let principal = |names: &[String]| Principal::with_roles(&roles, names);
        let principals: BTreeMap<PrincipalName, Principal> = config
            .principals
            .iter()
            .map(|own| (PrincipalName::from(own.name.as_str()), principal(&own.roles)))
            .collect();
        for name in tokens.principals().filter(|name| !principals.contains_key(*name)) {
            let text = format!("a token belongs to principal {name:?}, which is not in `principals`");
            faults.push(AccessFault { path: "auth.token_files".into(), text });
        }
        let certificates = config.auth.certificates.iter();
        let certificates =
            certificates.map(|own| (TagPattern::parse(&own.san), own.principal.as_str().into())).collect();
        let anonymous = match config.open {
            _ if !config.auth.anonymous.roles.is_empty() => Some(principal(&config.auth.anonymous.roles)),
            _ if config.auth.has_authenticator() => None,
            OpenAccess::None => None,
            OpenAccess::Read => {
                let roles = vec![Arc::new(Role::read_everything())];
                Some(Principal { roles, is_unrestricted: false, narrowed_to: None })
            }
            OpenAccess::All => Some(Principal { roles: Vec::new(), is_unrestricted: true, narrowed_to: None }),
        };
        let limits = config.limits;
        let is_open = anonymous.is_some() && !config.auth.has_authenticator();
        let refusals = (config.auth.refusals_per_minute, config.auth.refusal_delay);
        let access =
            Self { tokens, certificates, issuers, revoked, roles, principals, anonymous, is_open, limits, refusals };
        if faults.is_empty() { Ok(access) } else { Err(faults) }
    }

    /// Authenticates a call by its headers, or else by the names in its verified client certificate, or else as
    /// anonymous. A credential that is offered and not valid refuses the call: no other kind is tried. Without any
    /// authenticator in the configuration, all callers are anonymous, whatever they offer.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&CertificateNames>,
        now: UnixMillis,
    ) -> Result<Credential, AuthError> {
        if self.is_open {
            return Ok(Credential::anonymous());
        }
        let credential = match (bearer(headers)?, certificate) {
            (Some(token), _) => self.bearer(token, now)?,
            // Without configured names, certificates are the business of the connection alone.
            (None, Some(names)) if !self.certificates.is_empty() => self.certificate(names)?,
            (None, _) if self.anonymous.is_some() => Credential::anonymous(),
            (None, _) => return Err(AuthError::Missing),
        };
        if self.revoked.contains(&credential) {
            return Err(AuthError::Invalid);
        }
        match credential.not_after {
            Some(end) if end <= now => Err(AuthError::Expired),
            _ => Ok(credential),
        }
    }

    /// A token of a file has a prefix, and a JWT three parts.
    fn bearer(&self, token: &str, now: UnixMillis) -> Result<Credential, AuthError> {
        match () {
            () if token.starts_with(super::token::PREFIX) => self.token(token),
            () if is_jwt(token) => self.jwt(token, now),
            () => Err(AuthError::Invalid),
        }
    }

    fn jwt(&self, token: &str, now: UnixMillis) -> Result<Credential, AuthError> {
        let verified = self.issuers.verify(token, now).map_err(|error| match error {
            JwtError::Invalid(cause) => {
                tracing::debug!(cause, "refused JWT");
                AuthError::Invalid
            }
            JwtError::Expired => AuthError::Expired,
            JwtError::KeyUnknown => AuthError::KeyUnknown,
            JwtError::KeysUnavailable => AuthError::Unavailable,
        })?;
        // A principal of the configuration has no colon in its name.
        let principal: PrincipalName = format!("{}:{}", verified.issuer, verified.claims.subject).into();
        let (digest, not_after, id) = (verified.key, Some(verified.not_after), principal.clone());
        let jwt = Some(Arc::new(verified));
        Ok(Credential { kind: CredentialKind::Jwt, id, digest, principal, not_after, jwt, serial: None })
    }

    fn token(&self, token: &str) -> Result<Credential, AuthError> {
        let (id, entry) = self.tokens.find(token).ok_or(AuthError::Invalid)?;
        let (principal, digest, not_after) = (entry.principal.clone(), entry.digest, entry.not_after);
        Ok(Credential { kind: CredentialKind::Token, id, digest, principal, not_after, jwt: None, serial: None })
    }

    fn certificate(&self, names: &CertificateNames) -> Result<Credential, AuthError> {
        let mut found = names.names.iter().filter_map(|name| {
            let (_, principal) = self.certificates.iter().find(|(pattern, _)| pattern.matches_tag(name))?;
            Some((name, principal))
        });
        let (name, principal) = found.next().ok_or(AuthError::Invalid)?;
        let (kind, digest) = (CredentialKind::Certificate, names.digest);
        let (not_after, serial) = (Some(names.not_after), names.serial.clone());
        Ok(Credential { kind, id: name.clone(), digest, principal: principal.clone(), not_after, jwt: None, serial })
    }

    /// Returns the principal of an accepted credential; `None` if it is not accepted any more.
    pub fn principal(&self, credential: &Credential) -> Option<Cow<'_, Principal>> {
        if self.revoked.contains(credential) {
            return None;
        }
        match credential.kind {
            CredentialKind::Anonymous => self.anonymous.as_ref().map(Cow::Borrowed),
            CredentialKind::Token => {
                let entry = self.tokens.get(&credential.id)?;
                let is_same = entry.digest == credential.digest && entry.principal == credential.principal;
                is_same.then(|| self.principals.get(&credential.principal))?.map(Cow::Borrowed)
            }
            CredentialKind::Certificate => {
                let (_, principal) = self.certificates.iter().find(|own| own.0.matches_tag(&credential.id))?;
                (*principal == credential.principal).then(|| self.principals.get(principal))?.map(Cow::Borrowed)
            }
            CredentialKind::Jwt => {
                let own = self.issuers.roles(credential.jwt.as_deref()?)?;
                let narrowed_to = own.patterns;
                Some(Cow::Owned(Principal { narrowed_to, ..Principal::with_roles(&self.roles, &own.roles) }))
            }
        }
    }

    /// Returns the limits of an accepted credential's principal.
    pub fn limits(&self, credential: &Credential) -> Limits {
        self.principal(credential).map_or(Limits::ZERO, |principal| principal.limits())
    }

    /// Returns whether limits apply.
    pub fn limits_mode(&self) -> LimitsMode {
        self.limits.mode
    }

    /// Returns how limits apply.
    pub fn limits_config(&self) -> LimitsConfig {
        self.limits
    }

    /// Returns how late the refusal of a peer's credential is answered, which has had so many in this minute.
    pub(super) fn refusal_delay(&self, refusals: u64) -> Duration {
        let (max, delay) = self.refusals;
        if max > 0 && refusals > u64::from(max) { delay } else { Duration::ZERO }
    }

    /// Returns what an accepted credential may do on an account.
    pub fn grant(&self, credential: &Credential, account: &AccountName) -> Grant {
        self.principal(credential).map_or(Grant::NONE, |principal| principal.grant(account))
    }

    /// Returns the issuers of JWTs.
    pub fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// Continues with the keys that an earlier snapshot has fetched.
    pub(super) fn adopt_keys(&mut self, earlier: &Self) {
        self.issuers.adopt_keys(&earlier.issuers);
    }

    /// Returns the ids of the tokens of all token files, and the end of validity of each.
    pub fn tokens(&self) -> impl Iterator<Item = (&Arc<str>, Option<UnixMillis>)> {
        self.tokens.iter().map(|(id, entry)| (id, entry.not_after))
    }

    /// Returns the principal of the configuration with this name.
    pub fn named_principal(&self, name: &str) -> Option<&Principal> {
        self.principals.get(name)
    }

    /// Returns the names of the principals, in order.
    pub fn principals(&self) -> impl Iterator<Item = &PrincipalName> {
        self.principals.keys()
    }
}

/// True if a bearer token has the form of a JWT.
fn is_jwt(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Principal {
    fn with_roles(roles: &BTreeMap<String, Arc<Role>>, names: &[String]) -> Self {
        let roles = names.iter().filter_map(|name| roles.get(name).cloned()).collect();
        Self { roles, is_unrestricted: false, narrowed_to: None }
    }

    /// True if it has every right, without a role.
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    /// Returns the names of its roles.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| role.name.as_str())
    }

    /// Returns its limits: the largest of its roles.
    pub fn limits(&self) -> Limits {
        if self.is_unrestricted {
            return Limits::NONE;
        }
        self.roles.iter().fold(Limits::ZERO, |limits, role| limits.max(role.limits))
    }

    /// Returns what the principal may do on an account: the union of the rights and allowed tags of its roles there. What
    /// one role denies is denied.
    pub fn grant(&self, account: &AccountName) -> Grant {
        if self.is_unrestricted {
            return Grant::ALL;
        }
        let roles =
            || self.roles.iter().filter(|role| role.accounts.iter().any(|own| own.matches_tag(account.as_str())));
        let rights = roles().fold(RightSet::default(), |rights, role| rights.union(role.rights));
        let all = |patterns: fn(&Role) -> &Vec<TagPattern>| roles().flat_map(|role| patterns(role).clone()).collect();
        let untagged = roles().any(|role| role.untagged);
        let (allow, deny) = (all(|role| &role.allow), all(|role| &role.deny));
        let tags = match &self.narrowed_to {
            None => TagRight::new(allow, deny, untagged),
            // Posts without tags are not within any pattern.
            Some(patterns) => TagRight::new(allow, deny, false).map(|tags| tags.narrowed(patterns)),
        };
        let writing = roles().filter(|role| role.rights.contains(Right::RulesWrite));
        let listed: Option<Vec<&[TagPattern]>> = writing.map(|role| role.rule_sets.as_deref()).collect();
        let rule_sets = listed.filter(|sets| !sets.is_empty()).map(|sets| sets.concat().into());
        Grant { rights, tags: tags.map(Arc::new), rule_sets }
    }
}

impl Role {
    fn new(config: &RoleConfig) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(|text| TagPattern::parse(text)).collect();
        let (allow, deny, untagged) = match &config.tags {
            None => (vec![TagPattern::Prefix("".into())], Vec::new(), true),
            Some(tags) => (patterns(&tags.allow), patterns(&tags.deny), tags.untagged),
        };
        let rights = config.rights.iter().copied().collect();
        let limits = config.limits.into();
        let (name, accounts) = (config.name.clone(), patterns(&config.accounts));
        let rule_sets = config.rule_sets.as_deref().map(patterns);
        Self { name, accounts, rights, allow, deny, untagged, rule_sets, limits }
    }

    fn read_everything() -> Self {
        let everything = vec![TagPattern::Prefix("".into())];
        let rights = [Right::Read].into_iter().collect();
        Self {
            name: "grpc.allow_unauthenticated".into(),
            accounts: everything.clone(),
            rights,
            allow: everything,
            deny: Vec::new(),
            untagged: true,
            rule_sets: None,
            limits: Limits::NONE,
        }
    }
}

#[cfg(test)]
mod tests;
