//! Resolves the start of a session, with the help of other replicas if there are any.

use std::sync::Arc;

use tonic::Status;

use super::blocking::Blocking;
use super::call_context::CallContext;
use super::status;
use super::subscribe_options::SubscribeOptions;
use crate::hub::Hub;
use crate::hub::filter::Filter;
use crate::hub::session::{Warning, WarningCode};
use crate::hub::start::{self, ReplicaKnowledge, ResolvedStart, StartError};
use crate::hub::status::replica_link::{PrivateWants, WantError};
use crate::hub::status::upstream_status::UpstreamState;
use crate::model::{AccountName, Caller};

/// Maximum warnings about tags in an answer.
pub(super) const TAG_WARNINGS_MAX: usize = 10;

/// Returns the start of a session, and the warnings about its request.
pub(super) async fn resolve_start(
    blocking: &Blocking,
    hub: &Arc<Hub>,
    ask: &SubscribeOptions,
    (filter, caller): (Arc<Filter>, Caller),
    context: &CallContext,
) -> Result<(ResolvedStart, Vec<Warning>), Status> {
    if start::awaits_answer(hub, &ask.start) {
        // The first connection attempt ends within its timeout. The hub owns the sender, so the wait cannot fail.
        let _ = hub.upstream().watch().wait_for(|status| status.state != UpstreamState::Connecting).await;
    }
    let is_end_confirmed = start::await_position(hub, &ask.start).await;
    let mut known = ReplicaKnowledge { is_end_confirmed, are_gaps_requested: false };
    let refused = loop {
        let (start, policy, require_exact) = (ask.start.clone(), ask.policy, ask.require_exact);
        let (own, filter, charged) = (hub.clone(), filter.clone(), Some(caller.clone()));
        let resolved = blocking.run(move || {
            let resolved = start::resolve_for((charged, known), &own, &start, policy, require_exact)?;
            let advice = request_warnings(&own, &filter, &resolved);
            Ok::<_, StartError>((resolved, advice))
        });
        match resolved.await? {
            Ok(resolved) => return Ok(resolved),
            Err(StartError::NotLeader(wants)) => match request_gaps(hub, wants).await {
                Ok(()) => known.are_gaps_requested = true,
                Err(refused) => break refused,
            },
            Err(refused) => break refused,
        }
    };
    tracing::info!(?refused, "start refused");
    Err(match &refused {
        StartError::Foreign(account) if !AccountName::new(account).is_ok_and(|name| context.can_read(&name)) => {
            status::foreign_token()
        }
        _ => status::refused(refused),
    })
}

/// Has the leader request the private gaps of a start.
async fn request_gaps(hub: &Hub, wants: PrivateWants) -> Result<(), StartError> {
    let unanswered = StartError::NotLeader(wants.clone());
    let Some(replicas) = hub.upstream().replicas() else { return Err(unanswered) };
    replicas.want(wants).await.map_err(|error| match error {
        WantError::Unanswered => unanswered,
        WantError::Budget(exceeded) => StartError::RecoveryLimit(exceeded),
    })
}

/// Returns the warnings about an accepted request.
fn request_warnings(hub: &Hub, filter: &Filter, resolved: &ResolvedStart) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if resolved.filter.is_some_and(|before| before != 0 && before != filter.fingerprint()) {
        let message = "the filter differs from that of the resume token: \
                       posts before the token that match only the new filter are not delivered";
        warnings.push(Warning { code: WarningCode::FilterChanged, message: message.into() });
    }
    let unknown = hub.unknown_tags(filter);
    for (tag, near) in unknown.iter().take(TAG_WARNINGS_MAX) {
        let hint = near.as_ref().map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
        let message =
            format!("no post with tag {tag:?} was observed since the gateway started, and no known rule has it{hint}");
        warnings.push(Warning { code: WarningCode::UnknownTag, message });
    }
    if let Some(more) = unknown.len().checked_sub(TAG_WARNINGS_MAX).filter(|more| *more > 0) {
        warnings
            .push(Warning { code: WarningCode::UnknownTag, message: format!("{more} further tags were not observed") });
    }
    let status = hub.upstream().status();
    if status.state != crate::hub::status::upstream_status::UpstreamState::Connected && !status.last_error.is_empty() {
        let message = format!("upstream connection is down: {}", status.last_error);
        warnings.push(Warning { code: WarningCode::UpstreamDown, message });
    }
    warnings
}
