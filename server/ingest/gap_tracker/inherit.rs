//! Inheritance between feeds when the list of datacenters changes.
//!
//! A feed is identified by its name. A new name may denote a datacenter that was removed under another name, and the
//! feed of all posts carries those of every datacenter. A new feed therefore inherits the gaps and the progress of each
//! former feed that could have carried its posts. Missing time of a former feed that no new feed certainly carries is
//! left to recovery, which requests the posts of all datacenters.

use std::collections::BTreeSet;

use super::feed::{ALL_FEEDS, Feed, FeedGap};
use super::state_machine::GapStateMachine;
use crate::hub::side_log::Completeness;
use crate::model::{Gap, GapCause, GapId, GapState, TimeInterval, TimeRange, TimeRangeSet, UnixMillis};

/// Returns the later of two starts: a log is complete once it has the posts of all its feeds.
pub(super) fn later(one: Option<Completeness>, other: Option<Completeness>) -> Option<Completeness> {
    let (Some(one), Some(other)) = (one, other) else { return one.or(other) };
    let latest = one.time().max(other.time());
    Some(match (one, other) {
        (Completeness::From(_), Completeness::From(_)) => Completeness::From(latest),
        _ => Completeness::Pending(latest),
    })
}

/// True if this feed carries the posts of every datacenter, or if that is unknown.
fn carries_all(feed: &Feed) -> bool {
    feed.name == ALL_FEEDS || feed.name.is_empty()
}

impl GapStateMachine {
    /// Creates the feeds of these names from the former ones. Returns true if one was removed.
    pub(super) fn inherit(&mut self, former: Vec<Feed>, names: &[String], now: UnixMillis) -> bool {
        let mut passed_on = BTreeSet::new();
        for name in names {
            let same = former.iter().find(|feed| feed.name == *name);
            let gone = |feed: &&Feed| !names.contains(&feed.name);
            let parents: Vec<&Feed> = match same {
                Some(same) => vec![same],
                None if name == ALL_FEEDS => former.iter().collect(),
                None => former.iter().filter(|feed| carries_all(feed) || gone(feed)).collect(),
            };
            let feed = self.heir(name, &parents, &mut passed_on, now);
            self.kept.feeds.push(feed);
        }
        // One datacenter alone is not the whole stream; several are assumed to be.
        let whole = names.len() > 1 || names.iter().any(|name| name == ALL_FEEDS);
        let inherited = |feed: &Feed| match carries_all(feed) {
            true => whole || feed.name.is_empty(),
            false => names.contains(&feed.name) || names.iter().any(|name| name == ALL_FEEDS),
        };
        let removed: Vec<Feed> = former.into_iter().filter(|feed| !inherited(feed)).collect();
        let has_removed = !removed.is_empty();
        for feed in removed {
            tracing::warn!(feed = feed.name, "feed removed from configuration, its missing time is left to recovery");
            self.leave_feed(feed, &mut passed_on, now);
        }
        has_removed
    }

    /// Creates a feed with the delivered time common to all parents, and the missing time of any of them.
    fn heir(&mut self, name: &str, parents: &[&Feed], passed_on: &mut BTreeSet<GapId>, now: UnixMillis) -> Feed {
        let Some((first, others)) = parents.split_first() else { return Feed::new(name, now) };
        let mut own = Feed { name: name.to_owned(), ..(*first).clone() };
        let mut missing = first.undelivered(UnixMillis(i64::MAX));
        for parent in others {
            missing.insert_all(&parent.undelivered(UnixMillis(i64::MAX)));
            own.settled_to = own.settled_to.min(parent.settled_to);
            own.began |= parent.began;
            own.newest = own.newest.max(parent.newest);
            own.lag = own.lag.into_iter().chain(parent.lag).max_by_key(|newest| newest.lag);
            own.rate.add(&parent.rate);
            own.gaps.extend(parent.gaps.iter().cloned());
            own.origin = later(own.origin, parent.origin);
        }
        own.delivered = [TimeRange::new(own.settled_to, UnixMillis(i64::MAX))].into_iter().collect();
        own.delivered.remove_all(&missing);
        // Missing time of a parent that never began is in `missing`.
        let began = own.began;
        own.gaps.retain(|gap| gap.announced || gap.gap.window.to.is_some() || !began);
        for gap in own.gaps.iter_mut().filter(|gap| gap.announced) {
            self.pass_on(gap, passed_on);
        }
        own
    }

    /// Passes a gap on: the first heir keeps its id, every further heir gets a gap of its own.
    fn pass_on(&mut self, own: &mut FeedGap, passed_on: &mut BTreeSet<GapId>) {
        if !passed_on.insert(own.gap.id) {
            own.gap.id = self.next_id();
            self.log(own.gap.clone());
        }
    }

    /// Leaves the missing time of a feed until now to recovery.
    fn leave_feed(&mut self, mut feed: Feed, passed_on: &mut BTreeSet<GapId>, now: UnixMillis) {
        let rate = self.rate().max(feed.rate.per_second());
        let mut missing = feed.undelivered(now);
        self.kept.tail.leave(now);
        for mut own in std::mem::take(&mut feed.gaps) {
            let span = own.span(now);
            if !own.announced {
                missing.insert(span.intersection(TimeRange::new(own.promised, now)));
                continue;
            }
            self.pass_on(&mut own, passed_on);
            missing.remove(span);
            let window = TimeInterval { from: span.from, to: Some(span.to) };
            self.start_recovery(Gap { state: GapState::Recovering, window, ..own.gap }, span, rate);
        }
        let missing: TimeRangeSet = if self.has_begun() || feed.began { missing } else { TimeRangeSet::default() };
        for span in missing.iter() {
            let gap = self.new_gap(TimeInterval { from: span.from, to: Some(span.to) }, GapCause::GatewayDown);
            self.start_recovery(Gap { state: GapState::Recovering, ..gap }, span, rate);
        }
    }
}
