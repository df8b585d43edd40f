//! The last message that counted for a replica, and whether the shared log still has it.
//!
//! Places do not prove that: a shared log that was restored from an older copy can end at the same place again, with other
//! messages.

use super::place::ReplicaPlace;
use crate::quorum::{Chain, LogPlace, Quorum, Unavailable};

/// Bytes of one read of several messages.
const READ_BYTES: usize = 2 << 20;

/// A message that counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastCounted {
    /// Its place; 0 before the first message.
    pub(super) place: LogPlace,
    /// The chain after it.
    pub(super) chain: Chain,
}

impl LastCounted {
    /// Returns the message at this place.
    pub(super) fn at(place: &ReplicaPlace) -> Self {
        Self { place: place.last, chain: place.acceptance.chain }
    }

    /// True if another message is at its place, or if one of those after it, up to `last`, counts. An error proves
    /// nothing: the node that answered may be behind.
    pub(super) async fn is_rewritten(self, shared: &Quorum, last: LogPlace) -> Result<bool, Unavailable> {
        let mut from = self.place.max(1);
        while from <= last {
            let bytes_max = if from == last { 1 } else { READ_BYTES };
            let found = shared.log.read(from, bytes_max).await?;
            let Some(end) = found.last().map(|stored| stored.place) else {
                let is_trimmed = shared.log.info().await?.is_some_and(|info| info.first > last);
                let reason = || Unavailable("the last message that was read is not there yet".into());
                return if is_trimmed { Ok(false) } else { Err(reason()) };
            };
            for stored in found.iter().take_while(|stored| stored.place <= last) {
                let message = &stored.message;
                let is_other = match stored.place == self.place {
                    true => message.chain != self.chain,
                    false => self.chain.after(message.subject, &message.payload) == message.chain,
                };
                if is_other {
                    return Ok(true);
                }
            }
            from = end + 1;
        }
        Ok(false)
    }
}
