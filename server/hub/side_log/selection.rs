//! Decides which of the two logs of an account delivers a post to a subscription that reads both. Pure.
//!
//! A post may have several records: POST and DELTAs in the account's log, and the same in the side log. One thread
//! writes both logs, so the records of a post are ordered, and each contains its predecessors: the newest record of the
//! other log and the rules of the post there ([`Post::counterpart`], [`Post::counterpart_rules`]), and the previous
//! record of its own log ([`Post::previous`]) with its rules (`prior`).
//!
//! A subscription *sees* the records of the account's log in its [`SubscriptionCoverage`], and for each private gap the records of
//! the side log from [`PrivateGap::since`] on. The rule: **the first record that the subscription sees and its filter
//! matches is delivered, and no later one.** A record refers one step back in each log. That suffices by induction: if
//! the subscription sees the previous record and the filter matched there, the post was delivered by that record or an
//! earlier one, or will be by the side log.
//!
//! Records that the subscription was to see but cannot (trimmed or damaged before the session read them) are removed
//! from the coverage, and the side log is read again for them ([`PrivateGaps::skip`]). The second pass delivers only
//! posts that the first one left to records which are no longer covered.
//!
//! Where something is unknown (records of older versions, a restarted gap, dropped coverage) the post is delivered as a
//! possible duplicate: never lost.
//!
//! [`Post::counterpart`]: crate::model::Post::counterpart
//! [`Post::counterpart_rules`]: crate::model::Post::counterpart_rules
//! [`Post::previous`]: crate::model::Post::previous

use super::{PrivateGap, PrivateGaps};
use crate::hub::entry::Event;
use crate::model::{GapCause, Rule, Sequence, UnixMillis};

/// Decision about a record of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Not delivered: no match, or delivered by another record.
    Skip,
    /// Delivered.
    Once,
    /// Delivered, possibly again.
    PossibleDuplicate,
}

/// A record of a post, and the filter of a session.
pub struct Candidate<'a, F> {
    /// Its sequence.
    pub sequence: Sequence,
    /// The post.
    pub event: &'a Event,
    /// True if the filter matches these rules.
    pub matches: F,
}

impl PrivateGaps {
    /// Decides about a record of the account's log. `takes_all` if the subscription began at the oldest record of the
    /// log.
    pub fn select_main(&self, candidate: &Candidate<'_, impl Fn(&[Rule]) -> bool>, takes_all: bool) -> Delivery {
        let Candidate { event, matches, .. } = candidate;
        if !matches(&event.rules) {
            return Delivery::Skip;
        }
        let private_gap = self.at(event.created);
        let mut delivery = Delivery::Once;
        if event.prior.as_deref().is_some_and(matches) {
            delivery = self.after_record(event, private_gap, takes_all);
        }
        let Some(private_gap) = private_gap.filter(|_| delivery != Delivery::Skip) else { return delivery };
        let counterpart_matches = event.counterpart_rules.as_deref().is_none_or(matches);
        match event.counterpart.filter(|_| counterpart_matches) {
            // The subscription may have it from a record that was trimmed since, or will receive it from a record of
            // the side log that is not skipped for this one.
            _ if private_gap.is_restarted => Delivery::PossibleDuplicate,
            Some(in_other_log) if private_gap.sees(in_other_log) => Delivery::Skip,
            // The side log received the post again after the gap ended; the subscription may have an earlier record of
            // it.
            Some(counterpart) if private_gap.since <= counterpart => Delivery::PossibleDuplicate,
            _ => delivery,
        }
    }

    /// Decides about a DELTA whose earlier rules matched, too: a subscription that does not see the previous record
    /// receives this one.
    fn after_record(&self, event: &Event, private_gap: Option<&PrivateGap>, takes_all: bool) -> Delivery {
        let Some(previous) = event.previous else {
            // A record of an older version. A subscription that began before the log was trimmed has the post.
            let sure = private_gap.is_none() && !(takes_all && self.coverage.main_log_from > 1);
            return if sure { Delivery::Skip } else { Delivery::PossibleDuplicate };
        };
        if self.coverage.contains(previous) {
            return Delivery::Skip;
        }
        match private_gap {
            _ if self.coverage.is_unknown(previous) => Delivery::PossibleDuplicate,
            Some(private_gap) if previous >= private_gap.born => Delivery::PossibleDuplicate,
            Some(private_gap) if private_gap.may_follow_delivered(event.prior.as_deref(), event.created) => {
                Delivery::PossibleDuplicate
            }
            Some(private_gap) => private_gap.near_to(event.created, Delivery::Once),
            // The previous record may have been a DELTA of a record that the subscription has.
            None if self.coverage.misses(previous) => Delivery::PossibleDuplicate,
            None if takes_all => Delivery::Once,
            // It came before the subscription began (the delta rule of the contract).
            None => Delivery::Skip,
        }
    }

    /// Decides about a record of the side log.
    pub fn select_side(&self, candidate: &Candidate<'_, impl Fn(&[Rule]) -> bool>) -> Delivery {
        let Candidate { sequence, event, matches } = candidate;
        let private_gap =
            self.at(event.created).filter(|private_gap| !private_gap.is_closed && private_gap.offset <= *sequence);
        let Some(private_gap) = private_gap.filter(|_| matches(&event.rules)) else { return Delivery::Skip };
        let prior_matches = event.prior.as_deref().is_none_or(matches);
        if (event.prior.is_some() || event.previous.is_some())
            && prior_matches
            && event.previous.is_none_or(|previous| private_gap.sees(previous))
        {
            return Delivery::Skip;
        }
        let counterpart_matches = event.counterpart_rules.as_deref().is_none_or(matches);
        let delivery = match event.counterpart.filter(|_| counterpart_matches) {
            // It may have been left to a record of the side log that was trimmed before it was read.
            Some(_) if private_gap.is_restarted => Delivery::PossibleDuplicate,
            Some(main) if self.coverage.contains(main) => Delivery::Skip,
            Some(main) if self.coverage.is_unknown(main) => Delivery::PossibleDuplicate,
            // It was left to a record that was not reached, or to a DELTA of one that was.
            Some(main) if main >= private_gap.born => Delivery::PossibleDuplicate,
            Some(_) if private_gap.may_follow_delivered(event.counterpart_rules.as_deref(), event.created) => {
                Delivery::PossibleDuplicate
            }
            _ if *sequence < private_gap.passed_until => Delivery::Skip,
            // Recovered for another subscription, it may have reached the account's log later, and before the damage.
            None if private_gap.cause == GapCause::JournalCorrupt && private_gap.is_near(event.created) => {
                Delivery::PossibleDuplicate
            }
            _ => Delivery::Once,
        };
        private_gap.near_to(event.created, delivery)
    }
}

impl PrivateGap {
    /// Returns true if the subscription reads or has read this record of the side log for the gap.
    fn sees(&self, side: Sequence) -> bool {
        self.since <= side && (!self.is_closed || side < self.offset)
    }

    /// Marks posts that may have been delivered before the gap existed, by creation time; before damage only those of
    /// which the damaged record is a DELTA.
    fn near_to(&self, created: Option<UnixMillis>, delivery: Delivery) -> Delivery {
        let repeats = self.is_restarted || self.cause != GapCause::JournalCorrupt && self.is_near(created);
        if delivery == Delivery::Once && repeats { Delivery::PossibleDuplicate } else { delivery }
    }

    fn is_near(&self, created: Option<UnixMillis>) -> bool {
        created.is_none_or(|created| created <= self.repeats_until)
    }

    /// Returns true if a damaged record of a post under these rules may have been a DELTA of one that the subscription
    /// has. A post that only one rule matched has none.
    fn may_follow_delivered(&self, rules: Option<&[Rule]>, created: Option<UnixMillis>) -> bool {
        let is_first = rules.is_some_and(|rules| rules.len() == 1);
        self.cause == GapCause::JournalCorrupt && !is_first && self.is_near(created)
    }
}

#[cfg(test)]
mod tests;
