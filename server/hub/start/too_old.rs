//! Starts before the beginning of the log: the resume policy.

use super::super::token::ResumeToken;
use super::{LogMatch, ResolvedStart, Resolver, StartError, StartOutcome, StartPolicy};
use crate::model::{TimeInterval, TimeRange, UnixMillis};

impl Resolver<'_> {
    /// Applies the resume policy, and keeps the gaps that the subscription has already.
    pub(super) fn clamped(&self, token: ResumeToken) -> Result<ResolvedStart, StartError> {
        let clamped = self.too_old(self.missing_from(&token))?;
        let mut held = token.private.unwrap_or_default();
        let place = self.match_log(&token.position);
        let subscription_start = match place {
            LogMatch::Here => {
                held.skip(
                    token.position.sequence + 1,
                    clamped.cursor,
                    TimeRange::new(clamped.reached, clamped.reached),
                );
                token.subscription_start
            }
            LogMatch::Elsewhere => {
                held.rebase(clamped.cursor);
                clamped.subscription_start
            }
        };
        Ok(ResolvedStart { private: held.or_none(), subscription_start, ..clamped })
    }

    pub(super) fn too_old(&self, from: UnixMillis) -> Result<ResolvedStart, StartError> {
        let begins = self.extent.earliest_received.unwrap_or(self.now);
        let missing = |to| Some(TimeInterval { from, to: Some(to) });
        match self.policy {
            StartPolicy::Earliest => {
                Ok(ResolvedStart { missing: missing(begins), ..self.at_earliest(StartOutcome::Clamped) })
            }
            StartPolicy::Latest => {
                Ok(ResolvedStart { missing: missing(self.now), ..self.begun_at_tip(StartOutcome::Clamped) })
            }
            StartPolicy::Fail => Err(StartError::TooOld {
                oldest_token: self.hub.oldest_token(),
                oldest_time: self.extent.earliest_received,
                missing: begins.since(from),
            }),
        }
    }

    pub(super) fn in_future(&self) -> StartError {
        StartError::InFuture { head_time: self.now }
    }
}
