//! The caller of each request and the caller's rights: authentication, before the request reaches a service.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

use super::config::Reflection;
use super::methods::{self, GrpcPort, MethodRight};
use super::status;
use crate::access::{
    AccessControl, AccessWatch, AuditedCall, AuthError, Authenticated, CertificateNames, ClientConnectionId,
    ConnectionPermit, CredentialKind, CredentialWatch, Grant, Right, TagRight,
};
use crate::backoff::client_retry_delay;
use crate::gateway::{Account, Gateway};
use crate::model::{AccountName, Caller};

/// The caller of a request, and the right that its method needs.
#[derive(Clone)]
pub struct CallContext {
    /// `None`: no credential, where anonymous callers have no rights; possible only for methods that need none.
    caller: Option<Authenticated>,
    right: MethodRight,
}

impl CallContext {
    /// Authenticates a call on a port; `allows_open` is false if callers with every right for want of credentials are refused
    /// there. Returns the status of its refusal: the method does not exist, or the credential is missing
    /// or not valid.
    pub async fn authenticate(
        access: &AccessControl,
        (port, reflection, allows_open): (GrpcPort, Reflection, bool),
        path: &str,
        headers: &HeaderMap,
        certificate: Option<&CertificateNames>,
    ) -> Result<Self, Status> {
        let right = methods::required(port, path, reflection);
        let right = right.ok_or_else(|| status::unimplemented("there is no such method"))?;
        match access.authenticate_call(headers, certificate).await {
            // Callers without a credential have every right because only this host reaches the gRPC port, not this port.
            Ok(caller) if !allows_open && caller.is_unrestricted() => Err(status::unauthenticated(AuthError::Missing)),
            Ok(caller) => Ok(Self { caller: Some(caller), right }),
            // Probes have no credential; one that is offered must be valid.
            Err(AuthError::Missing) if right == MethodRight::Open => Ok(Self { caller: None, right }),
            Err(error) => Err(status::unauthenticated(error)),
        }
    }

    /// Counts the call, and counts it on its connection as long as the result exists; `None`: on none. Returns CALL_LIMIT
    /// if the principal has too many calls per second, CONNECTION_LIMIT if it has calls on too many connections.
    pub fn open_call(&self, connection: Option<ClientConnectionId>) -> Result<Option<ConnectionPermit>, Status> {
        let Some(caller) = self.limited_caller() else { return Ok(None) };
        let opened = caller
            .charge_call()
            .and_then(|()| connection.map(|connection| caller.open_call(connection, client_retry_delay())).transpose());
        opened.map_err(|reached| status::limit_reached(&reached))
    }

    /// Counts a refused call. Returns how late it is answered.
    pub fn refusal_delay(&self) -> Duration {
        self.limited_caller().map_or(Duration::ZERO, Authenticated::refusal_delay)
    }

    /// Returns the caller if the call counts for its limits. Probes do not.
    fn limited_caller(&self) -> Option<&Authenticated> {
        self.caller.as_ref().filter(|_| self.right != MethodRight::Open)
    }

    /// Compares the caller's active recovery jobs with its limit. Returns RECOVERY_LIMIT if one more is too many.
    pub fn check_recovery_jobs(&self, active: usize) -> Result<(), Status> {
        let checked = self.caller.as_ref().map_or(Ok(()), |caller| caller.check_recovery_jobs(active));
        checked.map_err(|reached| status::limit_reached(&reached))
    }

    /// Counts a stream of the caller as a session, and watches its credential. Returns SESSION_LIMIT if the principal has
    /// too many; `None` for callers without a credential, where anonymous callers have no rights.
    pub fn watch_credential(&self, access: &Arc<AccessControl>) -> Result<Option<CredentialWatch>, Status> {
        let Some(caller) = &self.caller else { return Ok(None) };
        let permit = caller.open_session(client_retry_delay()).map_err(|reached| status::limit_reached(&reached))?;
        Ok(Some(access.watch_credential(caller.credential.clone(), permit)))
    }

    /// Returns what an audit line contains about a call.
    pub fn audited<'c>(&'c self, peer: Option<IpAddr>, method: &'c str) -> AuditedCall<'c> {
        AuditedCall { caller: self.caller.as_ref(), peer, method }
    }

    /// Returns the context of a request. Every request has one: it is refused if not.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        request.extensions().get().cloned().ok_or_else(|| status::unauthenticated(AuthError::Missing))
    }

    /// Returns what the caller may do on an account.
    pub fn grant(&self, account: &AccountName) -> Grant {
        self.caller.as_ref().map_or(Grant::NONE, |caller| caller.grant(account))
    }

    /// True if the caller may read an account.
    pub fn can_read(&self, account: &AccountName) -> bool {
        self.grant(account).allows(Right::Read)
    }

    /// Returns the accounts that the caller may read, in order.
    pub fn readable(&self, gateway: &Gateway) -> Vec<AccountName> {
        gateway.names().into_iter().filter(|name| self.can_read(name)).collect()
    }

    /// Returns the name of the account that a request means. An account that the caller may not read does not exist for
    /// the caller: the same status, with the same text.
    pub fn account_name(&self, gateway: &Gateway, asked: &str) -> Result<(AccountName, Grant), Status> {
        let refused = |none| status::no_account(asked, none, &self.readable(gateway));
        let name = gateway.account_name(asked).map_err(refused)?;
        let grant = self.grant(&name);
        if !grant.allows(Right::Read) {
            return Err(refused(crate::gateway::NoAccount::Unknown));
        }
        match self.right {
            MethodRight::Account(right) | MethodRight::Each(right) if !grant.allows(right) => {
                Err(status::right_missing(right, &name))
            }
            _ => Ok((name, grant)),
        }
    }

    /// Returns the account that a request means, and what the caller may do on it.
    pub fn account(&self, gateway: &Gateway, asked: &str) -> Result<(Account, Grant), Status> {
        let (name, grant) = self.account_name(gateway, asked)?;
        let account = gateway.account(name.as_str());
        let account = account.map_err(|none| status::no_account(asked, none, &self.readable(gateway)))?;
        Ok((account, grant))
    }

    /// Checks the right of a method that is not about one account of the request.
    pub fn check(&self, gateway: &Gateway) -> Result<(), Status> {
        let names = gateway.names();
        let has = |right| move |name: &AccountName| self.grant(name).allows(right);
        match self.right {
            MethodRight::Process(right) if !names.iter().all(has(right)) => {
                Err(status::right_missing_everywhere(right))
            }
            MethodRight::Each(right) | MethodRight::Account(right) if !names.iter().any(has(right)) => {
                Err(status::right_missing_anywhere(right))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the caller has this right on every account.
    pub fn check_everywhere(&self, gateway: &Gateway, right: Right) -> Result<(), Status> {
        let has_all = gateway.names().iter().all(|name| self.grant(name).allows(right));
        if has_all { Ok(()) } else { Err(status::right_missing_everywhere(right)) }
    }

    /// Returns the authenticated caller. Every method of AdminService has one.
    pub fn caller(&self) -> Result<&Authenticated, Status> {
        self.caller.as_ref().ok_or_else(|| status::unauthenticated(AuthError::Missing))
    }

    /// Returns the key of the caller's budgets: the principal, or the peer of an anonymous call.
    pub fn budget_key<T>(&self, request: &tonic::Request<T>) -> Caller {
        let principal = self.caller.as_ref().map(|caller| &caller.credential.principal);
        match principal.filter(|name| !name.is_empty()) {
            Some(name) => Caller::of_principal(name),
            None => Caller::of_peer(request.remote_addr().map(|peer| peer.ip())),
        }
    }

    /// Returns the kind of the caller's credential; `None`: the caller has none and needs none.
    pub fn credential_kind(&self) -> Option<CredentialKind> {
        self.caller.as_ref().map(|caller| caller.credential.kind)
    }

    /// Returns the name of the principal; empty for anonymous callers.
    pub fn principal(&self) -> &str {
        self.caller.as_ref().map_or("", |caller| &caller.credential.principal)
    }

    /// Counts a session of the caller, and watches the caller's right to what it reads. Returns SESSION_LIMIT if the
    /// principal has too many sessions.
    pub fn open_session(
        &self,
        access: &Arc<AccessControl>,
        account: &AccountName,
        tags: Option<Arc<TagRight>>,
        retry_after: Duration,
    ) -> Result<Box<AccessWatch>, Status> {
        let caller = self.caller.as_ref().ok_or_else(|| status::unauthenticated(AuthError::Missing))?;
        let permit = caller.open_session(retry_after).map_err(|reached| status::limit_reached(&reached))?;
        Ok(Box::new(access.watch(caller.credential.clone(), account.clone(), tags, permit)))
    }
}
