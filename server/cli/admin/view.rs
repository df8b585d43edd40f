//! Responses as tables and as JSON: names of the proto's fields, times in RFC 3339, durations in seconds.

use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::wire::{name, seconds, span, time};
use crate::proto::{
    AccountStatus, ConfigOrigin, ConfigValue, DrainResponse, FilterSummary, Phase, ReloadResponse, SessionInfo,
    SetLogFilterResponse, StreamInfo, TerminateSessionResponse, UndrainResponse, WhoAmIResponse,
};

/// A response, for programs and for people.
#[derive(Debug)]
pub(super) struct ResponseView {
    /// One object.
    pub(super) json: Value,
    tables: Vec<Table>,
}

impl ResponseView {
    fn new(json: Value, tables: impl IntoIterator<Item = Table>) -> Self {
        Self { json, tables: tables.into_iter().collect() }
    }

    /// Returns the tables, separated by empty lines.
    pub(super) fn text(&self) -> String {
        let texts: Vec<String> = self.tables.iter().map(Table::text).filter(|text| !text.is_empty()).collect();
        texts.join("\n")
    }
}

fn state(stream: &StreamInfo) -> String {
    name(stream.upstream_state().as_str_name(), "UPSTREAM_STATE_")
}

/// Accounts.
pub(super) fn accounts(accounts: &[AccountStatus]) -> ResponseView {
    let mut table =
        Table::new(&["ACCOUNT", "UPSTREAM", "SINCE", "LAST BYTE", "SESSIONS", "RECORDS", "GAPS", "JOBS", "ERROR"]);
    for own in accounts {
        let stream = own.stream.clone().unwrap_or_default();
        let since = own.upstream_changes.last().and_then(|change| time(change.time.as_ref()));
        let sequence = |position: &Option<crate::proto::Position>| position.as_ref().map_or(0, |own| own.sequence);
        let error = if own.open_error.is_empty() { &stream.upstream_last_error } else { &own.open_error };
        table.add([
            stream.account.clone(),
            if own.open_error.is_empty() { state(&stream) } else { "not open".into() },
            since.unwrap_or_default(),
            stream.upstream_age.as_ref().map_or_else(String::new, |age| format!("{} ago", span(Some(age)))),
            stream.sessions.to_string(),
            format!("{}..{}", sequence(&stream.earliest), sequence(&stream.newest)),
            own.open_gap_count.to_string(),
            own.active_jobs.len().to_string(),
            error.clone(),
        ]);
    }
    ResponseView::new(json!({ "accounts": accounts.iter().map(account_json).collect::<Vec<_>>() }), [table])
}

fn account_json(own: &AccountStatus) -> Value {
    let stream = own.stream.clone().unwrap_or_default();
    let change = |change: &crate::proto::UpstreamChange| {
        let state = name(change.state().as_str_name(), "UPSTREAM_STATE_");
        json!({ "time": time(change.time.as_ref()), "state": state })
    };
    let gap = |gap: &crate::proto::Gap| {
        let interval = gap.interval.unwrap_or_default();
        let (start, end) = (time(interval.start_time.as_ref()), time(interval.end_time.as_ref()));
        json!({
            "gap_id": gap.gap_id, "start_time": start, "end_time": end,
            "cause": name(gap.cause().as_str_name(), "GAP_CAUSE_"),
            "state": name(gap.state().as_str_name(), "GAP_STATE_"),
        })
    };
    let job = |job: &crate::proto::RecoveryJob| {
        let interval = job.interval.unwrap_or_default();
        let (start, end) = (time(interval.start_time.as_ref()), time(interval.end_time.as_ref()));
        json!({
            "job_id": job.job_id, "start_time": start, "end_time": end, "attempts": job.attempts,
            "state": name(job.state().as_str_name(), "RECOVERY_JOB_STATE_"),
            "complete_until": time(job.complete_until.as_ref()), "recovered_count": job.recovered_count,
            "last_error": job.last_error,
        })
    };
    json!({
        "account": stream.account,
        "open_error": own.open_error,
        "upstream_state": state(&stream),
        "upstream_age": stream.upstream_age.as_ref().map(|age| seconds(Some(age))),
        "upstream_last_error": stream.upstream_last_error,
        "upstream_changes": own.upstream_changes.iter().map(change).collect::<Vec<_>>(),
        "earliest_sequence": stream.earliest.as_ref().map(|own| own.sequence),
        "newest_sequence": stream.newest.as_ref().map(|own| own.sequence),
        "low_watermark": time(stream.low_watermark.as_ref()),
        "sessions": stream.sessions,
        "recovery_blocked_reason": stream.recovery_blocked_reason,
        "open_gap_count": own.open_gap_count,
        "open_gaps": own.open_gaps.iter().map(gap).collect::<Vec<_>>(),
        "active_jobs": own.active_jobs.iter().map(job).collect::<Vec<_>>(),
    })
}

/// Sessions.
pub(super) fn sessions(sessions: &[SessionInfo]) -> ResponseView {
    let mut table = Table::new(&[
        "SESSION",
        "ACCOUNT",
        "PRINCIPAL",
        "CONSUMER",
        "PEER",
        "AGE",
        "PHASE",
        "LAG",
        "BEHIND",
        "EVENTS/S",
        "BYTES/S",
        "STALLED",
    ]);
    for own in sessions {
        table.add([
            own.session_id.clone(),
            own.account.clone(),
            if own.principal.is_empty() { "anonymous".into() } else { own.principal.clone() },
            own.consumer.clone(),
            own.peer.clone(),
            span(own.age.as_ref()),
            phase(own),
            own.lag_records.to_string(),
            span(own.lag.as_ref()),
            format!("{:.1}", own.events_per_second),
            format!("{:.0}", own.bytes_per_second),
            span(own.stalled_for.as_ref()),
        ]);
    }
    ResponseView::new(json!({ "sessions": sessions.iter().map(session_json).collect::<Vec<_>>() }), [table])
}

fn phase(own: &SessionInfo) -> String {
    name(Phase::try_from(own.phase).unwrap_or_default().as_str_name(), "PHASE_")
}

fn session_json(own: &SessionInfo) -> Value {
    let filter: FilterSummary = own.filter.clone().unwrap_or_default();
    let position =
        own.position.as_ref().map(|at| json!({ "epoch": at.epoch, "term": at.term, "sequence": at.sequence }));
    json!({
        "session_id": own.session_id, "account": own.account, "principal": own.principal,
        "credential": own.credential, "credential_expire_time": time(own.credential_expire_time.as_ref()),
        "consumer": own.consumer, "peer": own.peer,
        "start_time": time(own.start_time.as_ref()), "age": seconds(own.age.as_ref()),
        "filter": {
            "any_of_count": filter.any_of_count, "all_of_count": filter.all_of_count,
            "none_of_count": filter.none_of_count, "rule_id_count": filter.rule_id_count,
            "fingerprint": filter.fingerprint,
        },
        "position": position, "lag_records": own.lag_records, "lag": seconds(own.lag.as_ref()),
        "phase": phase(own),
        "delivered_events": own.delivered_events, "delivered_bytes": own.delivered_bytes,
        "events_per_second": own.events_per_second, "bytes_per_second": own.bytes_per_second,
        "stalled_for": seconds(own.stalled_for.as_ref()),
    })
}

/// A session that ends.
pub(super) fn terminated(response: &TerminateSessionResponse) -> ResponseView {
    let session = response.session.clone().unwrap_or_default();
    let until = time(response.refuse_until.as_ref());
    let mut table = Table::default();
    table.add([format!("session {} of consumer {:?} ends", session.session_id, session.consumer)]);
    if let Some(until) = &until {
        table.add([format!("further sessions of this principal and consumer are refused until {until}")]);
    }
    ResponseView::new(json!({ "session": session_json(&session), "refuse_until": until }), [table])
}

/// A drain.
pub(super) fn drained(response: &DrainResponse) -> ResponseView {
    let end = time(response.end_time.as_ref());
    let mut table = Table::default();
    let until = end.clone().unwrap_or_default();
    table.add([format!(
        "draining {} sessions until {until}; new ones are refused until `admin undrain`",
        response.sessions
    )]);
    ResponseView::new(json!({ "sessions": response.sessions, "end_time": end }), [table])
}

/// The end of a drain.
pub(super) fn undrained(response: &UndrainResponse) -> ResponseView {
    let mut table = Table::default();
    table.add([format!("serving again; {} sessions are open", response.sessions)]);
    ResponseView::new(json!({ "sessions": response.sessions }), [table])
}

/// The log filter.
pub(super) fn log_filter(response: &SetLogFilterResponse) -> ResponseView {
    let until = time(response.revert_time.as_ref());
    let mut table = Table::default();
    table.add([match &until {
        Some(until) => format!("log filter {} until {until}, then {}", response.filter, response.configured_filter),
        None => format!("log filter {}, as configured", response.filter),
    }]);
    let json = json!({
        "filter": response.filter, "revert_time": until, "configured_filter": response.configured_filter,
    });
    ResponseView::new(json, [table])
}

/// The configuration.
pub(super) fn config(values: &[ConfigValue], changed: bool) -> ResponseView {
    let mut table = Table::new(&["KEY", "VALUE", "ORIGIN", "AFTER RESTART"]);
    let shown = |own: &&ConfigValue| !changed || own.origin() != ConfigOrigin::Default || !own.pending_value.is_empty();
    let values: Vec<&ConfigValue> = values.iter().filter(shown).collect();
    let origin = |own: &ConfigValue| name(own.origin().as_str_name(), "CONFIG_ORIGIN_");
    for own in &values {
        let layer = if own.origin_name.is_empty() { origin(own) } else { own.origin_name.clone() };
        table.add([own.path.clone(), own.value.clone(), layer, own.pending_value.clone()]);
    }
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let json = |own: &&ConfigValue| {
        json!({
            "path": own.path, "value": parsed(&own.value), "origin": origin(own), "origin_name": own.origin_name,
            "live": own.live,
            "pending_value": (!own.pending_value.is_empty()).then(|| parsed(&own.pending_value)),
        })
    };
    ResponseView::new(json!({ "values": values.iter().map(json).collect::<Vec<_>>() }), [table])
}

/// The outcome of a reload.
pub(super) fn reload(response: &ReloadResponse) -> ResponseView {
    let mut table = Table::default();
    let mut line = |name: &str, values: &[String]| {
        values
            .iter()
            .enumerate()
            .for_each(|(n, value)| table.add([if n == 0 { name.into() } else { String::new() }, value.clone()]));
    };
    line("outcome", &[if response.applied { "applied" } else { "refused, nothing changed" }.to_owned()]);
    line("changed", &response.changed_keys);
    line("restart required", &response.restart_required_keys);
    line("fault", &response.faults);
    let json = json!({
        "applied": response.applied, "changed_keys": response.changed_keys,
        "restart_required_keys": response.restart_required_keys, "faults": response.faults,
    });
    ResponseView::new(json, [table])
}

/// An identity.
pub(super) fn who_am_i(response: &WhoAmIResponse) -> ResponseView {
    let expires = time(response.credential_expire_time.as_ref());
    let mut about = Table::default();
    let anonymous = if response.principal.is_empty() { "anonymous" } else { &response.principal };
    about.add(["principal".into(), anonymous.to_owned()]);
    if !response.credential.is_empty() {
        let until = expires.as_ref().map_or_else(String::new, |end| format!(" until {end}"));
        about.add(["credential".into(), format!("{}{until}", response.credential)]);
    }
    about.add(["roles".into(), if response.roles.is_empty() { "-".into() } else { response.roles.join(" ") }]);
    for limit in &response.limits {
        about.add([format!("limit {}", limit.name), limit.max.to_string()]);
    }
    let mut grants = Table::new(&["ACCOUNT", "RIGHTS", "POSTS WITH TAGS", "BUT NOT", "UNTAGGED"]);
    for own in &response.accounts {
        let allowed = if own.all_posts { "all posts".into() } else { own.allowed_tags.join(" ") };
        let untagged = if own.all_posts || own.untagged { "yes" } else { "no" };
        grants.add([own.account.clone(), own.rights.join(" "), allowed, own.denied_tags.join(" "), untagged.into()]);
    }
    let account = |own: &crate::proto::AccountGrant| {
        json!({
            "account": own.account, "rights": own.rights, "all_posts": own.all_posts,
            "allowed_tags": own.allowed_tags, "denied_tags": own.denied_tags, "untagged": own.untagged,
        })
    };
    let limit = |own: &crate::proto::PrincipalLimit| json!({ "name": own.name, "max": own.max });
    let json = json!({
        "principal": response.principal, "credential": response.credential, "credential_expire_time": expires,
        "roles": response.roles, "accounts": response.accounts.iter().map(account).collect::<Vec<_>>(),
        "limits": response.limits.iter().map(limit).collect::<Vec<_>>(),
    });
    ResponseView::new(json, [about, grants])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_is_row_and_object() {
        let session = SessionInfo {
            session_id: "00ff".into(),
            consumer: "in\u{1b}dexer".into(),
            phase: Phase::Live.into(),
            lag_records: 7,
            ..SessionInfo::default()
        };
        let view = sessions(&[session]);
        let text = view.text();
        assert!(text.lines().count() == 2 && text.contains("anonymous") && !text.contains('\u{1b}'), "{text}");
        let own = &view.json["sessions"][0];
        assert_eq!(
            (&own["session_id"], &own["phase"], &own["lag_records"]),
            (&"00ff".into(), &"live".into(), &7.into())
        );
    }

    #[test]
    fn unchanged_values_are_left_out_on_request() {
        let value = |path: &str, origin: ConfigOrigin, pending: &str| ConfigValue {
            path: path.into(),
            value: "1".into(),
            origin: origin.into(),
            pending_value: pending.into(),
            ..ConfigValue::default()
        };
        let values = [
            value("a", ConfigOrigin::Default, ""),
            value("b", ConfigOrigin::File, ""),
            value("c", ConfigOrigin::Default, "2"),
        ];
        assert_eq!(config(&values, true).text().lines().count(), 3, "the heading, b and c");
        assert_eq!(config(&values, false).json["values"].as_array().map(Vec::len), Some(3));
        assert_eq!(config(&values, true).json["values"][1]["pending_value"], 2);
    }
}
