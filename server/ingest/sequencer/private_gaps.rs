//! Which of the two logs a post that recovery brought is for, and what each record carries of the other log.

use std::sync::Arc;

use super::append_batch::AppendBatch;
use super::{Sequencer, SequencerDeps};
use crate::hub::entry::{EVENT_BYTES_MAX, event_bytes};
use crate::ingest::dedup::{self, DedupResult, KnownPost};
use crate::model::{Post, PostId, Rule, UnixMillis, union_rules};
use crate::task::Shutdown;

/// The logs that a post is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The account's log.
    pub(super) main: bool,
    /// The side log.
    pub(super) side: bool,
}

impl SequencerDeps {
    /// The logs that a post is for that recovery brought.
    ///
    /// The side log gets every post of a time that some subscription lacks or lacked, whatever the account's log has of it: what
    /// that has may be trimmed before a session reads it. The account's log gets what closes one of its gaps, and a DELTA
    /// of a post that it holds. A new post that no gap asked for (X is asked for whole minutes, and by hand) is not excused:
    /// unless it is for the side log it goes to the account's log, where subscriptions that began later leave it out. So does one
    /// that neither log has where a private gap has ended: its subscription does not read the side log for it any more.
    pub(super) fn route(
        &self,
        id: PostId,
        rules: &[Rule],
        verdict: &DedupResult,
        in_gap: bool,
    ) -> Result<Route, dedup::DedupError> {
        let side = id.created_at().is_some_and(|created| self.hub.side().accepts(created));
        let main = match verdict {
            DedupResult::Duplicate => false,
            _ if in_gap || !side => true,
            DedupResult::New => self.is_late(id, rules)?,
            DedupResult::Delta { .. } => self.main_holds(id)? || self.is_late(id, rules)?,
        };
        Ok(Route { main, side })
    }

    /// True if a private gap may have ended before this post, or this rule of it, came.
    fn is_late(&self, id: PostId, rules: &[Rule]) -> Result<bool, dedup::DedupError> {
        if !id.created_at().is_some_and(|created| self.hub.side().has_ended(created)) {
            return Ok(false);
        }
        Ok(self.side.known(id)?.is_none_or(|known| union_rules(&known.rules, rules).is_some()))
    }

    /// True if a record of this post in the account's log is not trimmed.
    fn main_holds(&self, id: PostId) -> Result<bool, dedup::DedupError> {
        let earliest = self.hub.reader().extent().earliest;
        Ok(self.seen.known(id)?.is_some_and(|known| known.sequence >= earliest))
    }

    /// What the side log has of a post that the account's log takes: its newest record, and its rules.
    pub(super) fn counterpart(&self, id: PostId) -> Result<Option<KnownPost>, dedup::DedupError> {
        let lacked = id.created_at().is_some_and(|created| self.hub.side().accepts(created));
        if !lacked {
            return Ok(None);
        }
        self.side.known(id)
    }
}

impl Sequencer {
    /// Takes a post for the side log, under the rules of all arrivals. True if it was not there.
    pub(super) async fn append_to_side_log(
        &mut self,
        post: Post,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<bool, dedup::DedupError> {
        let known = self.retry_until_available(giving_up, |writing| writing.seen.known(post.id)).await?;
        let (beside, beside_rules) = known.map(|known| (known.sequence, known.rules)).unzip();
        let union = beside_rules
            .as_ref()
            .map(|prior: &Arc<[Rule]>| union_rules(prior, &post.rules).unwrap_or_else(|| prior.clone()));
        // Too long to be delivered, it would be for nobody.
        let union = union.filter(|union| event_bytes(&post.json, union) <= EVENT_BYTES_MAX);
        let rules = union.unwrap_or(post.rules);
        let post = Post { rules, counterpart: beside, beside_rules, previous: None, ..post };
        self.retry_until_available(giving_up, |writing| writing.side.append_post(post.clone(), received)).await
    }

    /// Counts a post that is for the side log alone.
    pub(super) fn count_private(batch: &mut AppendBatch, new: bool) {
        let counter = if new { &mut batch.tally.side } else { &mut batch.tally.duplicates };
        *counter += 1;
    }
}
