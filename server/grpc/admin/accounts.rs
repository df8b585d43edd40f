//! The state of an account, for operators.

use crate::gateway::{Gateway, NoAccount};
use crate::ingest::recovery::{JobState, JobStatus};
use crate::model::{AccountName, Gap};
use crate::proto::{AccountStatus, UpstreamChange};

use super::convert;

/// Maximum open gaps and active jobs of an account in the list.
const LISTED_MAX: usize = 100;

/// Returns the state of an account, open or not.
pub fn status(gateway: &Gateway, name: &AccountName) -> AccountStatus {
    let account = match gateway.account(name.as_str()) {
        Ok(account) => account,
        Err(none) => {
            let open_error = if let NoAccount::Failed(reason) = none { reason } else { String::new() };
            let stream = Some(convert::unopened_stream_info(name));
            return AccountStatus { stream, open_error, ..AccountStatus::default() };
        }
    };
    let changes = account.hub.upstream().changes().into_iter();
    let change = |(time, state)| UpstreamChange {
        time: Some(convert::timestamp(time)),
        state: convert::upstream_state(state).into(),
    };
    let open: Vec<Gap> = account.gaps.gaps().into_iter().filter(|gap| !gap.state.is_final()).collect();
    let is_active = |listed: &JobStatus| matches!(listed.job.state, JobState::Waiting | JobState::Running);
    let jobs = account.recovery.list().into_iter().filter(is_active);
    AccountStatus {
        upstream_changes: changes.map(change).collect(),
        open_gap_count: u32::try_from(open.len()).unwrap_or(u32::MAX),
        open_gaps: open.iter().rev().take(LISTED_MAX).map(|gap| convert::gap(gap, false)).collect(),
        active_jobs: jobs.take(LISTED_MAX).map(|job| convert::recovery_job(&job, std::iter::empty())).collect(),
        stream: Some(convert::stream_info(account.stream_info())),
        open_error: String::new(),
    }
}
