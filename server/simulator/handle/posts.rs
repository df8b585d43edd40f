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

    /// The connections that were answered with a stream, by number.
    pub fn connection_records(&self) -> Vec<ConnectionRecord> {
        self.state.writes.connections()
    }

    /// Puts these bytes, as they are, into all live connections: a control message with its line end, or rubbish.
    pub fn inject(&self, raw: impl Into<Bytes>) {
        self.state.log.inject(raw.into(), self.state.now());
        self.state.count(|counters| counters.injected += 1);
    }

    /// Sends this post and makes it part of the truth, whatever the rules say. Without an id it is given a new one; if it
    /// tells no `matching_rules` it gets those of the rules that match.
    pub fn publish(&self, json: &str) -> Result<SentPost, PublishError> {
        self.state.publish(json, 0)
    }

    /// The same, made in this datacenter.
    pub fn publish_in(&self, datacenter: &str, json: &str) -> Result<SentPost, PublishError> {
        let datacenters = &self.state.config().datacenters;
        let at = datacenters.iter().position(|name| name == datacenter);
        self.state.publish(json, at.ok_or_else(|| PublishError::NoDatacenter(datacenter.into()))?)
    }

    /// Makes this post part of the truth as X would have sent it at that time: its id, which is a new one, tells that
    /// time. Those who are connected do not get it; backfill and recovery bring it.
    pub fn publish_at(&self, created: UnixMillis, json: &str) -> Result<SentPost, PublishError> {
        self.state.publish_at(created, json)
    }

    /// Fills a span of the past with posts, so many a second and evenly, each of which some rule matches; tells how many
    /// (none without rules). They are small, and drawn from the seed. Those who are connected do not get them.
    pub fn history(&self, span: TimeRange, rate: f64) -> u64 {
        self.state.history(span, rate)
    }

    /// Sends a post of the truth again, with these rules beside its own: X finds that it matches another rule. The truth
    /// has both arrivals, under one id and two ordinals.
    pub fn redeliver(&self, post: PostId, more: &[Rule]) -> Result<SentPost, PublishError> {
        self.state.redeliver(post, more)
    }
}
