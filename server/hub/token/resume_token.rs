//! Content of a resume token.

use crate::hub::side_log::PrivateGaps;
use crate::model::{AccountName, Position, Sequence, UnixMillis};

/// Content of a resume token. The gateway stores nothing for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    /// Account of the log.
    pub account: AccountName,
    /// Position; resume is strictly after it.
    pub position: Position,
    /// Everything created before this has been delivered to the subscription, or announced as a gap.
    pub low_watermark: UnixMillis,
    /// Upstream time at the position: everything received up to then has been delivered, whatever gap is open.
    pub received_up_to: UnixMillis,
    /// Upstream time from which the subscription's first session asked to read.
    pub subscription_start: UnixMillis,
    /// First record appended after the subscription began, if it began at the tip of this log.
    pub subscription_from: Option<Sequence>,
    /// Fingerprint of the filter of the session.
    pub filter: u64,
    /// After a resume by time: what was received or created up to this time may have been delivered before.
    pub duplicates_until: Option<UnixMillis>,
    /// Private gaps.
    pub private: Option<PrivateGaps>,
}

impl ResumeToken {
    /// Fingerprint in tokens that were issued outside of any session.
    pub const NO_FILTER: u64 = 0;
    pub(super) const VERSION: u8 = 2;
    pub(super) const MAC_BYTES: usize = 16;
    /// Maximum characters of a token.
    pub const CHARS_MAX: usize = 1_024;
    /// Maximum records since the start of the subscription; beyond it only the start time is encoded.
    pub(super) const SUBSCRIPTION_BACK_MAX: u64 = 1 << 35;

    /// Returns the distance from `subscription_from` to the position.
    pub(super) fn subscription_back(&self) -> Option<u64> {
        let back = self.position.sequence.wrapping_add(1).wrapping_sub(self.subscription_from?);
        Some(back).filter(|back| *back < Self::SUBSCRIPTION_BACK_MAX)
    }
}
