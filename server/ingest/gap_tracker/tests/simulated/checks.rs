//! Checks at every moment of a simulated history.

use std::collections::BTreeSet;

use super::*;

impl SimulatedEnv {
    /// Returns expected posts that were not delivered, and that no line is about to send.
    pub(super) fn undelivered(&self) -> impl Iterator<Item = &Post> {
        let carried =
            |line: &Line, post: &Post| line.up && !line.silent && carries(&self.feeds[line.feed], post.datacenter);
        let coming =
            move |post: &&Post| self.lines.iter().any(|line| carried(line, post) && line.sent_to <= post.created);
        self.posts.iter().filter(|post| post.due && post.delivered.is_none()).filter(move |post| !coming(post))
    }

    /// The low watermark never passes an expected post that was not delivered, except unrecoverable ones.
    pub(super) fn check_mark(&self) -> Result<(), TestCaseError> {
        let up = self.machine.kept.feeds.iter().flat_map(|feed| feed.up());
        let Some(receive_time) = up.map(|(_, own)| own.last_byte).max() else { return Ok(()) };
        let gaps = self.gaps();
        let open = gaps.values().filter(|gap| !gap.state.is_final()).map(|gap| gap.window.from);
        let mark = open.fold(receive_time.minus(self.machine.late(receive_time).max(LATENESS)), UnixMillis::min);
        let lost = |post: &Post| {
            gaps.values().any(|gap| gap.state == GapState::Unrecoverable && gap.window.contains(at(post.created)))
        };
        let passed = self
            .posts
            .iter()
            .find(|post| post.due && post.delivered.is_none() && at(post.created) < mark && !lost(post));
        let second = |time: i64| time - START;
        prop_assert!(
            passed.is_none(),
            "the low watermark {} passed second {:?}: {:?}",
            second(mark.0 / 1_000),
            passed.map(|post| second(post.created)),
            self.story()
        );
        Ok(())
    }

    /// Every expected post was delivered, or is in a gap that will be closed, or in an unrecoverable one.
    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        self.check_mark()?;
        let missing = self.machine.missing();
        let gaps = self.gaps();
        let waiting: BTreeSet<GapId> =
            self.machine.kept.feeds.iter().flat_map(|feed| &feed.gaps).map(|own| own.gap.id).collect();
        for post in self.undelivered() {
            let created = at(post.created);
            let excused = gaps.values().filter(|gap| gap.window.contains(created)).any(|gap| match gap.state {
                GapState::Detected => waiting.contains(&gap.id),
                GapState::Recovering => missing.contains(created),
                state => state == GapState::Unrecoverable,
            });
            let second = post.created - START;
            prop_assert!(excused, "a post of second {second} of {} is in no gap: {:?}", post.datacenter, self.story());
        }
        Ok(())
    }
}
