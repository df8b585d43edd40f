//! Identities: the caller, or a principal of the configuration.

use tonic::Status;

use super::{convert, status};
use crate::access::{Grant, Principal, Right};
use crate::gateway::Gateway;
use crate::grpc::call_context::CallContext;
use crate::model::{AccountName, TagPattern};
use crate::proto::{AccountGrant, PrincipalLimit, WhoAmIResponse};

/// Returns the identity of the caller, or of the principal with this name if it is not empty.
pub fn of(gateway: &Gateway, context: &CallContext, name: &str) -> Result<WhoAmIResponse, Status> {
    let caller = context.caller()?;
    if name.is_empty() || name == context.principal() {
        let credential = &caller.credential;
        let principal = caller.principal();
        let own = principal.as_deref().map(|own| identity(gateway, own)).unwrap_or_default();
        return Ok(WhoAmIResponse {
            principal: credential.principal.to_string(),
            credential: credential.to_string(),
            credential_expire_time: credential.not_after.map(convert::timestamp),
            ..own
        });
    }
    context.check_everywhere(gateway, Right::Admin)?;
    let principal = caller.named_principal(name).ok_or_else(|| status::principal_unknown(name))?;
    Ok(WhoAmIResponse { principal: name.to_owned(), ..identity(gateway, principal) })
}

fn identity(gateway: &Gateway, principal: &Principal) -> WhoAmIResponse {
    let accounts = gateway.names();
    let granted = accounts.iter().filter_map(|name| grant(name, &principal.grant(name)));
    let limit = |(name, max): (&str, u64)| PrincipalLimit { name: name.to_owned(), max };
    WhoAmIResponse {
        roles: principal.role_names().map(str::to_owned).collect(),
        accounts: granted.collect(),
        limits: principal.limits().named().map(limit).collect(),
        ..WhoAmIResponse::default()
    }
}

/// Returns what a principal may do on an account; `None` if that is nothing.
fn grant(account: &AccountName, grant: &Grant) -> Option<AccountGrant> {
    let rights = Right::ALL.into_iter().filter(|right| grant.allows(*right));
    let rights: Vec<String> = rights.map(|right| right.name().to_owned()).collect();
    if rights.is_empty() {
        return None;
    }
    let mut own = AccountGrant { account: account.to_string(), rights, ..AccountGrant::default() };
    match &grant.tags {
        None => own.all_posts = true,
        Some(tags) => {
            let written = |patterns: &[TagPattern]| patterns.iter().map(TagPattern::written).collect();
            let (allow, deny) = tags.patterns();
            (own.allowed_tags, own.denied_tags) = (written(allow), written(deny));
            own.untagged = tags.allows_untagged();
        }
    }
    Some(own)
}
