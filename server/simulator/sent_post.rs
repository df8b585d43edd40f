use std::sync::Arc;

use bytes::Bytes;

use crate::model::{PostId, Rule, UnixMillis};

/// A post that X has sent, or would have sent to an open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPost {
    /// Its number among all posts of this run: the first is 1.
    pub ordinal: u64,
    /// Its id.
    pub post_id: PostId,
    /// Rules in the payload; fields that the configured shape omits are `None`.
    pub rules: Arc<[Rule]>,
    /// The payload, byte for byte as it is on the wire; of an array its element.
    pub json: Bytes,
    /// Creation time, as in the id.
    pub created: UnixMillis,
    /// When it was sent first; of played posts the only time that means anything here.
    pub published: UnixMillis,
    /// Index of its datacenter.
    pub datacenter: usize,
}
