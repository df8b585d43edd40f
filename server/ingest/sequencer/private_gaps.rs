//! Routing of recovered posts to the two logs, and the references between them.

use std::sync::Arc;

use super::append_batch::AppendBatch;
use super::{Sequencer, SequencerDeps};
use crate::hub::entry::{EVENT_BYTES_MAX, event_bytes};
use crate::hub::side_log::Completeness;
use crate::ingest::dedup::{self, DedupResult, KnownPost};
use crate::model::{Post, PostId, Rule, TimeRangeSet, UnixMillis, union_rules};
use crate::task::Shutdown;

/// The logs that receive a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The account's log.
    pub(super) main: bool,
    /// The side log.
    pub(super) side: bool,
}

impl SequencerDeps {
    /// Routes a recovered post.
    ///
    /// The side log gets every post of a time that some private gap covers or covered, even if the account's log has
    /// it: its record may be trimmed before a session reads it. The account's log gets posts that help to close one of
    /// its gaps, and a DELTA of a post that it contains. A new post that no gap demanded (requests cover whole minutes)
    /// is not dropped: unless the side log gets it, it enters the account's log, where younger subscriptions filter it
    /// out. The same holds for a post that neither log has and whose private gap has ended: its subscription does not
    /// read the side log for it any more. But an undemanded post of before the account's log enters no log: subscriptions
    /// that are as old have it from the log before this one, and one that misses it demands it.
    pub(super) fn route(
        &self,
        post: &Post,
        result: &DedupResult,
        demanded: &TimeRangeSet,
    ) -> Result<Route, dedup::DedupError> {
        let (id, rules, in_gap) = (post.id, &post.rules, post.gap.is_some());
        let created = id.created_at();
        let is_older = created.is_some_and(|created| !demanded.contains(created) && self.is_before_log(created));
        let side = created.is_some_and(|created| self.hub.side().accepts(created));
        let main = match result {
            DedupResult::Duplicate => false,
            DedupResult::New if is_older && !in_gap && !side => false,
            _ if in_gap || !side => true,
            DedupResult::New => self.is_late(id, rules)?,
            DedupResult::Delta { .. } => self.main_holds(id)? || self.is_late(id, rules)?,
        };
        Ok(Route { main, side })
    }

    /// True if the account's log begins, or is expected to begin, after this time.
    fn is_before_log(&self, created: UnixMillis) -> bool {
        let begins = self.hub.side().complete_from().map(Completeness::time);
        begins.is_some_and(|from| created < from)
    }

    /// True if a private gap may have ended before this post, or this rule of it, arrived.
    fn is_late(&self, id: PostId, rules: &[Rule]) -> Result<bool, dedup::DedupError> {
        if !id.created_at().is_some_and(|created| self.hub.side().has_ended(created)) {
            return Ok(false);
        }
        Ok(self.logs.side.known(id)?.is_none_or(|known| union_rules(&known.rules, rules).is_some()))
    }

    /// True if the account's log retains a record of this post.
    fn main_holds(&self, id: PostId) -> Result<bool, dedup::DedupError> {
        let earliest = self.hub.reader().extent().earliest;
        Ok(self.logs.seen.known(id)?.is_some_and(|known| known.sequence >= earliest))
    }

    /// Returns the side log's newest record of a post, and its rules, for a record of the account's log.
    pub(super) fn counterpart(&self, id: PostId) -> Result<Option<KnownPost>, dedup::DedupError> {
        let may_hold = |created| self.hub.side().accepts(created) || self.logs.side.may_hold(created);
        if !id.created_at().is_some_and(may_hold) {
            return Ok(None);
        }
        self.logs.side.known(id)
    }
}

impl Sequencer {
    /// Appends a post to the side log, under the rules of all arrivals. Returns true if the side log did not have it.
    pub(super) async fn append_to_side_log(
        &mut self,
        post: Post,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<bool, dedup::DedupError> {
        let known = self.retry_until_available(giving_up, |writing| writing.logs.seen.known(post.id)).await?;
        let (counterpart, counterpart_rules) = known.map(|known| (known.sequence, known.rules)).unzip();
        let union = counterpart_rules
            .as_ref()
            .map(|prior: &Arc<[Rule]>| union_rules(prior, &post.rules).unwrap_or_else(|| prior.clone()));
        // A post too long to be delivered would be useless.
        let union = union.filter(|union| event_bytes(&post.json, union) <= EVENT_BYTES_MAX);
        let rules = union.unwrap_or(post.rules);
        let post = Post { rules, counterpart, counterpart_rules, previous: None, ..post };
        self.retry_until_available(giving_up, |writing| writing.logs.side.append_post(post.clone(), received)).await
    }

    /// Counts a post that only the side log gets.
    pub(super) fn count_private(batch: &mut AppendBatch, new: bool) {
        let counter = if new { &mut batch.tally.side } else { &mut batch.tally.duplicates };
        *counter += 1;
    }
}
