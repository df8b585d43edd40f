//! Content of a resume token.

use crate::hub::side_log::PrivateGaps;
use crate::model::{AccountName, Position, Sequence, UnixMillis};

/// What a resume token says. It is a value, not a lease: the gateway keeps nothing for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    /// Account whose log it stands in.
    pub account: AccountName,
    /// Where: resume is strictly after it.
    pub position: Position,
    /// Everything created before this has been delivered to the subscription, or told as a gap.
    pub low_watermark: UnixMillis,
    /// The upstream time at the position: what was received up to then has been delivered, whatever gap is open.
    pub received_up_to: UnixMillis,
    /// The upstream time from which the subscription's first session asked to read.
    pub subscription_start: UnixMillis,
    /// The first record that was appended after the subscription began, if it began at the tip of this log.
    pub subscription_from: Option<Sequence>,
    /// Fingerprint of the filter it was issued under.
    pub filter: u64,
    /// What was received or created up to this time may have been delivered before; after a resume by time.
    pub duplicates_until: Option<UnixMillis>,
    /// What only this subscription lacks.
    pub private: Option<PrivateGaps>,
}

impl ResumeToken {
    /// Fingerprint of a token that was issued outside of any session.
    pub const NO_FILTER: u64 = 0;
    pub(super) const VERSION: u8 = 2;
    pub(super) const MAC_BYTES: usize = 16;
    /// Longest token accepted, in characters.
    pub const CHARS_MAX: usize = 1_024;
    /// A subscription that began so many records ago is told by its time alone.
    pub(super) const LINEAGE_BACK_MAX: u64 = 1 << 35;

    /// How many records after the subscription began the position is.
    pub(super) fn subscription_back(&self) -> Option<u64> {
        let back = self.position.sequence.wrapping_add(1).wrapping_sub(self.subscription_from?);
        Some(back).filter(|back| *back < Self::LINEAGE_BACK_MAX)
    }
}
