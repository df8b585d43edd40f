//! The state of an account, from what the gateway knows of it.

use std::time::Duration;

use super::rules;
use super::snapshot::{
    GapSnapshot, JobSnapshot, JournalSnapshot, Listed, OpenAccount, SessionSnapshot, TagSnapshot, UpstreamSnapshot,
};
use crate::access::Grant;
use crate::escape;
use crate::gateway::Account;
use crate::hub::session::Phase;
use crate::hub::status::upstream_status::UpstreamState;
use crate::hub::status::upstream_timeline::TIMELINE_WINDOW;
use crate::hub::{Hub, SessionEntry, TagInfo};
use crate::ingest::recovery::JobStatus;
use crate::journal::RetentionBound;
use crate::model::{Gap, UnixMillis};

/// Maximum entries of each list. What is listed last is left off first.
const GAPS_MAX: usize = 200;
const JOBS_MAX: usize = 100;
const TAGS_MAX: usize = 500;
const SESSIONS_MAX: usize = 1_000;
/// Maximum bytes of an error.
const ERROR_BYTES_MAX: usize = 512;

/// Returns the state of an open account, with the tags that this grant allows to see.
pub(super) fn collect(account: &Account, grant: &Grant) -> OpenAccount {
    let gaps = account.gaps.gaps();
    OpenAccount {
        upstream: upstream(&account.hub),
        open_gaps: gaps.iter().filter(|gap| !gap.state.is_final()).count(),
        gaps: listed_gaps(gaps, account.hub.clock().now()),
        jobs: jobs(account),
        journal: journal(account),
        tags: tags(&account.hub, grant),
        sessions: sessions(&account.hub),
        rules: rules::collect(&account.rules, grant),
        unaccounted: account.counters.ingest.unaccounted(),
        in_flight: account.counters.ingest.in_flight.get(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a text of X or of a client as it is shown: on one line, and without characters that reorder it.
fn shown(text: &str) -> String {
    escape::line(text).into_owned()
}

fn bounded(text: &str) -> String {
    shown(&text[..text.floor_char_boundary(ERROR_BYTES_MAX)])
}

fn upstream(hub: &Hub) -> UpstreamSnapshot {
    let (monitor, clock) = (hub.upstream(), hub.clock());
    let status = monitor.status();
    let state = match status.state {
        UpstreamState::Stopped => "stopped",
        UpstreamState::BackingOff => "backing_off",
        UpstreamState::Connecting => "connecting",
        UpstreamState::Connected => "connected",
    };
    UpstreamSnapshot {
        state,
        last_byte: monitor.last_byte().map(|last| clock.at(last.moment)),
        last_post: monitor.last_post(),
        last_error: bounded(&status.last_error),
        timeline: monitor.timeline().iter().map(|span| (clock.at(span.since), span.phase.into())).collect(),
    }
}

fn listed_gaps(mut gaps: Vec<Gap>, now: UnixMillis) -> Listed<GapSnapshot> {
    let oldest = now.minus(TIMELINE_WINDOW);
    gaps.retain(|gap| !gap.state.is_final() || gap.window.to.is_none_or(|end| end > oldest));
    // Open ones are not left off for closed ones.
    gaps.sort_by_key(|gap| (gap.state.is_final(), std::cmp::Reverse(gap.window.from)));
    let count = gaps.len();
    gaps.truncate(GAPS_MAX);
    let view = |gap: Gap| GapSnapshot {
        id: gap.id.to_string(),
        start: gap.window.from,
        end: gap.window.to,
        cause: gap.cause,
        state: gap.state,
        is_closed: gap.state.is_final(),
        evidence: gap.evidence,
        recovered: gap.recovered,
    };
    Listed { list: gaps.into_iter().map(view).collect(), count }
}

fn jobs(account: &Account) -> Listed<JobSnapshot> {
    let active: Vec<JobStatus> =
        account.recovery.list().into_iter().filter(|listed| listed.job.state.is_active()).collect();
    let view = |JobStatus { job, retry_after }: &JobStatus| JobSnapshot {
        id: job.id.to_string(),
        start: job.window.from,
        end: job.window.to,
        state: job.state.name(),
        is_manual: job.manual,
        complete_until: job.progress(),
        attempts: job.attempts,
        received: job.received,
        recovered: job.recovered,
        retry_after: retry_after.map(millis),
        last_error: bounded(&job.last_error),
    };
    Listed { list: active.iter().take(JOBS_MAX).map(view).collect(), count: active.len() }
}

fn journal(account: &Account) -> JournalSnapshot {
    let (extent, counters) = (account.hub.reader().extent(), &account.counters);
    let bound = match counters.journal.bound() {
        RetentionBound::Age => "age",
        RetentionBound::Bytes => "bytes",
        RetentionBound::Disk => "disk",
    };
    JournalSnapshot {
        oldest: extent.earliest_received,
        newest: extent.newest_received,
        records: extent.next - extent.earliest,
        bytes: counters.journal.bytes(),
        bound,
        age_max: millis(counters.retention.retention_age_max),
        bytes_max: counters.retention.retention_bytes_max,
    }
}

fn tags(hub: &Hub, grant: &Grant) -> Listed<TagSnapshot> {
    let mut tags = hub.tags();
    tags.retain(|tag| grant.is_tag_visible(&tag.tag));
    tags.sort_by(|a, b| {
        let by_rate = b.per_second.total_cmp(&a.per_second).then(b.posts.cmp(&a.posts));
        by_rate.then_with(|| a.tag.cmp(&b.tag))
    });
    let count = tags.len();
    tags.truncate(TAGS_MAX);
    let subscribed = hub.subscribed(tags.iter().map(|tag| &*tag.tag));
    let view = |(tag, is_subscribed): (TagInfo, Option<bool>)| TagSnapshot {
        tag: shown(&tag.tag),
        per_second: tag.per_second,
        posts: tag.posts,
        is_subscribed,
    };
    Listed { list: tags.into_iter().zip(subscribed).map(view).collect(), count }
}

fn sessions(hub: &Hub) -> Listed<SessionSnapshot> {
    let tip = (hub.next(), hub.tip_received());
    let entries = hub.registry().list();
    let count = entries.len();
    let mut ranked: Vec<_> = entries.into_iter().map(|entry| (entry.activity.lag(tip), entry)).collect();
    ranked.sort_by_key(|((records, _), entry)| (std::cmp::Reverse(*records), entry.activity.began()));
    ranked.truncate(SESSIONS_MAX);
    Listed { list: ranked.into_iter().map(|(lag, entry)| session(hub, lag, &entry)).collect(), count }
}

fn session(hub: &Hub, (lag_records, lag): (u64, Duration), entry: &SessionEntry) -> SessionSnapshot {
    let (info, activity) = (&entry.info, entry.activity.snapshot(hub.clock().moment()));
    SessionSnapshot {
        id: info.id.clone(),
        principal: shown(&info.principal),
        consumer: shown(&info.consumer),
        peer: info.peer.clone(),
        since: info.since,
        is_live: activity.phase == Phase::Live,
        lag_records,
        lag: millis(lag),
        events_per_second: activity.events_per_second,
        bytes_per_second: activity.bytes_per_second,
        stalled_for: millis(activity.stalled_for),
    }
}
