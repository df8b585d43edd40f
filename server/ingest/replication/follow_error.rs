use thiserror::Error;

use super::local_logs::ApplyError;
use super::message::ContentError;
use crate::journal::AppendError;
use crate::model::Epoch;
use crate::quorum::{LogPlace, Unavailable};

/// Why a replica cannot follow.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The shared log cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A message that counts cannot be read.
    #[error("message {place} of the shared log: {source}")]
    Content {
        /// Its place.
        place: LogPlace,
        /// The reason.
        source: ContentError,
    },
    /// A message cannot be applied.
    #[error("message {place} of the shared log: {source}")]
    Apply {
        /// Its place.
        place: LogPlace,
        /// The reason.
        source: ApplyError,
    },
    /// The shared log has trimmed messages that this replica has not.
    #[error("shared log begins at message {first}, this replica needs {needed}")]
    Trimmed {
        /// The oldest message.
        first: LogPlace,
        /// The next message of this replica.
        needed: LogPlace,
    },
    /// The shared log was deleted and created again, and does not continue the records of this replica.
    #[error("shared log was created again ({found}, this replica knows {known}) without records of this replica")]
    Recreated {
        /// The known incarnation.
        known: String,
        /// The current one.
        found: String,
    },
    /// The shared log was deleted, and one of another epoch was created.
    #[error("shared log has epoch {found}, this replica has {known}; delete the wrong one of both")]
    OtherEpoch {
        /// The epoch of this replica.
        known: Epoch,
        /// That of the shared log.
        found: Epoch,
    },
}

impl FollowError {
    /// True if this replica has records that the shared log has lost, or needs messages that it has trimmed. It can be
    /// filled again.
    pub fn needs_refill(&self) -> bool {
        matches!(
            self,
            Self::Trimmed { .. } | Self::Recreated { .. } | Self::Apply { source: ApplyError::TailLost(_), .. }
        )
    }

    /// Returns an error only if an operator has to act.
    pub(super) fn if_lasting(self) -> Result<(), Self> {
        if self.is_passing() { Ok(()) } else { Err(self) }
    }

    /// True if the same call can succeed later without an operator.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Apply { source, .. } => match source {
                ApplyError::Journal(error) => !matches!(error, AppendError::Discontinuous(_)),
                ApplyError::Checkpoint(_) | ApplyError::Read(_) | ApplyError::Block(_) => true,
                ApplyError::Diverged(_) | ApplyError::TailLost(_) => false,
            },
            Self::Content { .. } | Self::Trimmed { .. } | Self::Recreated { .. } | Self::OtherEpoch { .. } => false,
        }
    }
}
