//! Which of the two logs a post that recovery brought is for, and what each says of the other.

use super::Sequencer;
use super::batch::Batch;
use crate::ingest::dedup::{self, Verdict};
use crate::model::{Post, PostId, Sequence, UnixMillis, rules_union};
use crate::task::Shutdown;

impl Sequencer {
    /// True if a post that recovery brought is for the side log.
    ///
    /// What closes a gap of the account's log goes there. What only some lineages lack does not, whatever the verdict: the
    /// ids outlive the records. A new post that no gap asked for (X is asked for whole minutes, and by hand) is not excused:
    /// it goes to the account's log, where lineages that began later leave it out.
    pub(super) fn is_private(&self, id: PostId, verdict: &Verdict, in_gap: bool) -> bool {
        let Some(created) = id.created_at() else { return false };
        let hub = &self.writing.hub;
        match verdict {
            Verdict::New | Verdict::Delta { .. } if in_gap => false,
            _ if hub.side().wants(created) => true,
            Verdict::New | Verdict::Delta { .. } | Verdict::Duplicate => false,
        }
    }

    /// Takes a post for the side log. True if it was not there.
    pub(super) fn take_private(
        &mut self,
        batch: &mut Batch,
        post: Post,
        received: UnixMillis,
        giving_up: &Shutdown,
    ) -> Result<bool, dedup::Error> {
        let beside = self.writing.seen.known(post.id)?.map(|known| known.sequence);
        let post = Post { beside, ..post };
        let new = self.patiently(giving_up, |writing| writing.side.take(post.clone(), received))?;
        let counter = if new { &mut batch.tally.side } else { &mut batch.tally.duplicates };
        *counter += 1;
        Ok(new)
    }

    /// The record of the side log that gives a post, which is new to the account's log, to those who read both.
    pub(super) fn beside(&self, post: &Post) -> Result<Option<Sequence>, dedup::Error> {
        let lacked = post.id.created_at().is_some_and(|created| self.writing.hub.side().wants(created));
        if !lacked {
            return Ok(None);
        }
        let known = self.writing.side.known(post.id)?;
        // Under a rule that the side log does not know it may be for somebody who has not got it.
        let covered = known.filter(|known| rules_union(&known.rules, &post.rules).is_none());
        Ok(covered.map(|known| known.sequence))
    }
}
