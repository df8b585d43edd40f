//! The list of open sessions, and the search for one.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use super::{convert, status};
use crate::access::{PrincipalName, Right};
use crate::gateway::Gateway;
use crate::grpc::call_context::CallContext;
use crate::grpc::paging::{PageKey, PageRequest};
use crate::hub::session::TimedPosition;
use crate::hub::{ActivitySnapshot, Hub, SessionEntry, Termination};
use crate::model::AccountName;
use crate::proto::{FilterSummary, ListSessionsRequest, SessionInfo, SessionOrder};

/// Sessions that a request asks for.
pub struct SessionSelection {
    account: String,
    principal: String,
    consumer: String,
    order: SessionOrder,
    page: PageRequest<SessionKey>,
}

/// Place of a session in the list: its rank, ascending, then its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SessionKey {
    rank: u64,
    id: String,
}

/// An open session, and the hub that it reads.
pub struct FoundSession {
    /// The hub.
    pub hub: Arc<Hub>,
    entry: Arc<SessionEntry>,
}

impl PageKey for SessionKey {
    fn encode(&self) -> String {
        format!("{:016x}{}", self.rank, self.id)
    }

    fn decode(text: &str) -> Option<Self> {
        let (rank, id) = text.split_at_checked(16)?;
        Some(Self { rank: u64::from_str_radix(rank, 16).ok()?, id: id.to_owned() })
    }
}

impl SessionSelection {
    /// Checks a request.
    pub fn parse(request: ListSessionsRequest) -> Result<Self, Status> {
        let ListSessionsRequest { account, principal, consumer, order_by, page_size, page_token } = request;
        let order = SessionOrder::try_from(order_by)
            .map_err(|_| status::argument_invalid("order_by", "is not an order that this gateway knows"))?;
        let list = format!("sessions:{order_by}:{account}:{principal}:{consumer}");
        let page = PageRequest::parse(list, page_size, &page_token)?;
        Ok(Self { account, principal, consumer, order, page })
    }

    /// Returns the page, and the token of the next one. Returns ACCESS_DENIED for an account on which the caller may not
    /// list sessions, whether it exists or not.
    pub fn list(&self, gateway: &Gateway, context: &CallContext) -> Result<(Vec<SessionInfo>, String), Status> {
        let may_list = |name: &AccountName| context.grant(name).allows(Right::Status);
        if !self.account.is_empty() {
            let is_known = gateway.names().iter().any(|name| name.as_str() == self.account && may_list(name));
            if !is_known {
                return Err(status::account_unlisted(&self.account));
            }
        }
        let is_asked = |own: &FoundSession| {
            let matches = |asked: &str, own: &str| asked.is_empty() || asked == own;
            matches(&self.principal, &own.entry.info.principal) && matches(&self.consumer, &own.entry.info.consumer)
        };
        let is_account = |name: &AccountName| self.account.is_empty() || name.as_str() == self.account;
        let accounts = gateway.accounts().into_iter();
        let accounts = accounts.filter(|own| is_account(own.hub.account()) && may_list(own.hub.account()));
        let all = accounts.flat_map(|account| FoundSession::all(&account.hub));
        let mut found: Vec<_> = all.filter(is_asked).map(|own| (self.key(&own), own)).collect();
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(self.page.take(found.into_iter(), |(key, _)| key.clone(), |(_, own)| own.view()))
    }

    fn key(&self, own: &FoundSession) -> SessionKey {
        let descending = |value: u64| u64::MAX - value;
        let rank = match self.order {
            SessionOrder::Unspecified | SessionOrder::Age => own.entry.activity.began(),
            SessionOrder::Lag => descending(own.lag().0),
            SessionOrder::Rate => descending(own.snapshot().bytes_per_second as u64),
        };
        SessionKey { rank, id: own.entry.info.id.clone() }
    }
}

/// Finds the session that the caller may end. One of another account does not exist for the caller, unless the caller may list
/// it.
pub fn find(gateway: &Gateway, context: &CallContext, id: &str) -> Result<FoundSession, Status> {
    for account in gateway.accounts() {
        let Some(entry) = account.hub.registry().find(id) else { continue };
        let (name, grant) = (account.hub.account(), context.grant(account.hub.account()));
        match () {
            () if grant.allows(Right::Admin) => return Ok(FoundSession { hub: account.hub.clone(), entry }),
            () if grant.allows(Right::Status) => return Err(status::right_missing(Right::Admin, name)),
            () => {}
        }
    }
    Err(status::session_unknown(id))
}

impl FoundSession {
    fn all(hub: &Arc<Hub>) -> Vec<Self> {
        hub.registry().list().into_iter().map(|entry| Self { hub: hub.clone(), entry }).collect()
    }

    fn snapshot(&self) -> ActivitySnapshot {
        self.entry.activity.snapshot(self.hub.clock().moment())
    }

    fn lag(&self) -> (u64, Duration) {
        self.entry.activity.lag((self.hub.next(), self.hub.tip_received()))
    }

    /// Returns the session as of now.
    pub fn view(&self) -> SessionInfo {
        let (info, activity, hub) = (&self.entry.info, self.snapshot(), &self.hub);
        let (lag_records, lag) = self.lag();
        let position = (activity.cursor > 0).then(|| {
            let place = TimedPosition { position: hub.position(activity.cursor - 1), time: activity.last_advance };
            convert::position(&place)
        });
        let count = |terms: usize| u32::try_from(terms).unwrap_or(u32::MAX);
        SessionInfo {
            session_id: info.id.clone(),
            account: hub.account().to_string(),
            principal: info.principal.to_string(),
            credential: info.credential.clone(),
            credential_expire_time: info.expires.map(convert::timestamp),
            consumer: info.consumer.clone(),
            peer: info.peer.clone(),
            start_time: Some(convert::timestamp(info.since)),
            age: Some(convert::duration(hub.clock().now().since(info.since))),
            filter: Some(FilterSummary {
                any_of_count: count(info.filter.any_of),
                all_of_count: count(info.filter.all_of),
                none_of_count: count(info.filter.none_of),
                rule_id_count: count(info.filter.rule_ids),
                fingerprint: format!("{:016x}", info.filter.fingerprint),
            }),
            position,
            lag_records,
            lag: Some(convert::duration(lag)),
            phase: convert::phase(activity.phase).into(),
            delivered_events: activity.events,
            delivered_bytes: activity.bytes,
            events_per_second: activity.events_per_second,
            bytes_per_second: activity.bytes_per_second,
            stalled_for: Some(convert::duration(activity.stalled_for)),
        }
    }

    /// Returns the consumer whose further sessions are refused.
    pub fn refused_consumer(&self) -> (AccountName, PrincipalName, String) {
        let info = &self.entry.info;
        (self.hub.account().clone(), info.principal.clone(), info.consumer.clone())
    }

    /// Requests the end of the session.
    pub fn terminate(&self, reason: &str, retry_after: Option<Duration>) {
        self.hub.registry().terminate(&self.entry, Termination { reason: reason.into(), retry_after });
    }

    /// Resets the stream of the session, if it is still open.
    pub fn abort(&self) {
        self.entry.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_pages_are_parsed_as_themselves() {
        for (rank, id) in [(0, "00ff00ff00ff00ff"), (u64::MAX, "a"), (7, "")] {
            let key = SessionKey { rank, id: id.into() };
            assert_eq!(SessionKey::decode(&key.encode()), Some(key));
        }
        for bad in ["", "7", "é000000000000000", "xxxxxxxxxxxxxxxx1"] {
            assert_eq!(SessionKey::decode(bad), None, "{bad}");
        }
    }
}
