use std::sync::Arc;

use bytes::Bytes;

use crate::model::{PostId, Rule, UnixMillis};

/// A post that X has sent, or would have sent to whoever was connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentPost {
    /// Its number among all posts of this run: the first is 1.
    pub ordinal: u64,
    /// Its id.
    pub post_id: PostId,
    /// The rules as the payload tells them: what the chosen shape leaves out is `None` here.
    pub rules: Arc<[Rule]>,
    /// The payload, byte for byte as it is on the wire; of an array its element.
    pub json: Bytes,
    /// When it was created: what the id says.
    pub created: UnixMillis,
    /// When it was sent first; of played posts the only time that means anything here.
    pub published: UnixMillis,
    /// Index of its datacenter.
    pub datacenter: usize,
}
