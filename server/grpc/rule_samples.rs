//! TestRule: posts of the log that a rule matches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tonic::Status;

use super::interval::{START_TIME, bounds};
use super::{Config, convert, rule_convert, status};
use crate::access::Grant;
use crate::gateway::{Account, MatchLimits, MatchingPosts};
use crate::model::{Post, TimeRange, UnixMillis, tags};
use crate::proto::{self, TestRuleRequest, TestRuleResponse};
use crate::query::{self, Dialect, QuerySettings, Severity};

/// Samples if the request names no number, and at most.
const SAMPLES: (usize, usize) = (20, 100);
/// Interval if the request names no start.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Retry delay if the log could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Searches logs for posts that rules match.
pub struct RuleSearch {
    /// Permits to read the journal.
    reads: Arc<Semaphore>,
    bytes_max: u64,
    window_max: Duration,
}

impl RuleSearch {
    /// Searches within these limits.
    pub fn new(config: &Config) -> Self {
        let reads = Arc::new(Semaphore::new(config.rule_tests_max.max(1)));
        Self { reads, bytes_max: config.rule_test_read_bytes_max, window_max: config.rule_test_window_max }
    }

    /// Evaluates the rule of a request on the posts that are visible to the caller.
    pub async fn run(
        &self,
        account: Account,
        grant: Grant,
        request: TestRuleRequest,
    ) -> Result<TestRuleResponse, Status> {
        let range = self.range(&account, request.interval.as_ref())?;
        let samples_max = match request.samples_max {
            0 => SAMPLES.0,
            1.. => (request.samples_max as usize).min(SAMPLES.1),
            _ => return Err(status::start_invalid("samples_max", "must not be negative")),
        };
        let checked = query::check(&request.value, &QuerySettings::of(Dialect::Powerstream));
        let is_valid = checked.findings.iter().all(|finding| finding.severity != Severity::Error);
        let Some(query) = checked.query.filter(|_| is_valid) else {
            return Err(status::rule_invalid(&checked.findings));
        };
        let limits = MatchLimits { bytes_max: self.bytes_max, samples_max };
        let permit = self.reads.clone().acquire_owned().await.map_err(|_| status::internal(""))?;
        let name = account.hub.account().clone();
        // The read owns the permit: a cancelled call does not free it while its read runs.
        let read = tokio::task::spawn_blocking(move || {
            let found = account.match_rule(&query, range, limits, |rules| grant.is_visible(rules));
            let found = found.map(|found| response(found, &grant));
            drop(permit);
            found
        });
        let found = read.await.map_err(|panic| {
            tracing::error!(%panic, "request panicked");
            status::internal("")
        })?;
        let mut found = found.map_err(|error| {
            tracing::error!(account = %name, %error, "failed to read journal to test a rule");
            status::not_ready("journal cannot be read; retry later", RETRY)
        })?;
        found.findings = checked.findings.iter().map(|one| rule_convert::finding(0, one)).collect();
        Ok(found)
    }

    fn range(&self, account: &Account, given: Option<&proto::TimeInterval>) -> Result<TimeRange, Status> {
        let clock = account.hub.clock();
        let (start, end) = bounds(given)?;
        let now = clock.now();
        if end.is_some_and(|end| end > now.plus(clock.uncertainty())) {
            return Err(status::in_future("interval.end_time is in the future", now));
        }
        let end = end.map_or(now, |end| end.min(now));
        let start = start.unwrap_or_else(|| end.minus(WINDOW.min(self.window_max)));
        if start >= end {
            return Err(status::start_invalid(START_TIME, "must be in the past"));
        }
        if end.since(start) > self.window_max {
            let max = humantime::format_duration(self.window_max);
            let problem = format!("must be at most {max} before the end (grpc.rule_test_window_max)");
            return Err(status::start_invalid(START_TIME, &problem));
        }
        Ok(TimeRange::new(start, end))
    }
}

fn response(found: MatchingPosts, grant: &Grant) -> TestRuleResponse {
    TestRuleResponse {
        findings: Vec::new(),
        interval: found.evaluated.map(|range| proto::TimeInterval {
            start_time: Some(convert::timestamp(range.from)),
            end_time: Some(convert::timestamp(range.to)),
        }),
        posts: found.posts,
        matches: found.matches,
        samples: found.samples.iter().map(|(received, post)| sample(*received, post, grant)).collect(),
        truncated: found.truncated,
    }
}

fn sample(received: UnixMillis, post: &Post, grant: &Grant) -> proto::RuleSample {
    proto::RuleSample {
        post_id: post.id.0,
        event_time: Some(convert::timestamp(post.id.created_at().unwrap_or(received))),
        tags: tags(&post.rules).filter(|tag| grant.is_tag_visible(tag)).map(|tag| tag.to_string()).collect(),
        json: String::from_utf8_lossy(&post.json).into_owned(),
    }
}
