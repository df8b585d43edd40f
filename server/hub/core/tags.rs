//! What the hub knows of tags: observed, configured, of rules at X, and asked for by sessions.

use std::sync::Arc;

use super::Hub;
use crate::hub::filter::Filter;
use crate::hub::{TagInfo, subscribed_tags};

impl Hub {
    /// Returns the known tags.
    pub fn tags(&self) -> Vec<TagInfo> {
        self.tags.list(self.clock.moment())
    }

    /// Replaces the tags of the rules that X has, as far as they are known.
    pub fn set_rule_tags<'t>(&self, tags: impl Iterator<Item = &'t str>) {
        self.tags.set_rule_tags(tags);
    }

    /// Returns for each of these tags whether an open session asks for it; `None` if that would take too long to find.
    pub fn subscribed<'t>(&self, tags: impl Iterator<Item = &'t str>) -> Vec<Option<bool>> {
        let (filters, is_whole) = self.groups.filters(subscribed_tags::FILTERS_MAX);
        subscribed_tags::subscribed(tags, &filters, is_whole)
    }

    /// Returns the tags of a filter that no rule feeds, each with the most similar known tag if there is one.
    pub fn unknown_tags(&self, filter: &Filter) -> Vec<(Arc<str>, Option<Arc<str>>)> {
        self.tags.unknown(filter.tags_named(), |tag| filter.is_tag_visible(tag))
    }
}
