use bytes::Bytes;

use super::SimulatorHandle;
use crate::model::{PostId, Rule, TimeRange, UnixMillis};
use crate::simulator::publish::PublishError;
use crate::simulator::sent_post::SentPost;
use crate::simulator::writes::{ConnectionRecord, PostWrite};

impl SimulatorHandle {
    /// The posts that were written to connections, in the order of each connection (`Config::write_log_entries_max`).
    pub fn writes(&self) -> Vec<PostWrite> {
        self.state.writes.writes()
    }

    /// Writes that are no longer kept.
    pub fn writes_dropped(&self) -> u64 {
        self.state.writes.dropped()
    }

    /// The connections that were answered with a stream, by number.
    pub fn connection_records(&self) -> Vec<ConnectionRecord> {
        self.state.writes.connections()
    }

    /// Sends these raw bytes on all live connections: a control message with its line end, or malformed input.
    pub fn inject(&self, raw: impl Into<Bytes>) {
        self.state.log.inject(raw.into(), self.state.now());
        self.state.count(|counters| counters.injected += 1);
    }

    /// Sends this post and adds it to the ground truth, whatever the rules. Without an id it gets a new one; without
    /// `matching_rules` it gets those of the rules that match.
    pub fn publish(&self, json: &str) -> Result<SentPost, PublishError> {
        self.state.publish(json, 0)
    }

    /// The same, made in this datacenter.
    pub fn publish_in(&self, datacenter: &str, json: &str) -> Result<SentPost, PublishError> {
        let datacenters = &self.state.config().datacenters;
        let at = datacenters.iter().position(|name| name == datacenter);
        self.state.publish(json, at.ok_or_else(|| PublishError::NoDatacenter(datacenter.into()))?)
    }

    /// Adds this post to the ground truth as if X had sent it at that time; its new id contains that time. Open
    /// connections do not receive it; backfill and recovery do.
    pub fn publish_at(&self, created: UnixMillis, json: &str) -> Result<SentPost, PublishError> {
        self.state.publish_at(created, json)
    }

    /// Fills a range of the past with posts, evenly at this rate per second, each of which matches a rule. Returns
    /// their number (0 without rules). They are small, and drawn from the seed. Open connections do not receive them.
    pub fn history(&self, span: TimeRange, rate: f64) -> u64 {
        self.state.history(span, rate)
    }

    /// Sends a post of the ground truth again with these rules in addition to its own, as X does when it matches
    /// another rule. The ground truth contains both arrivals, under one id and two ordinals.
    pub fn redeliver(&self, post: PostId, more: &[Rule]) -> Result<SentPost, PublishError> {
        self.state.redeliver(post, more)
    }
}
