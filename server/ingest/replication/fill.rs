//! Where a replica with an empty directory begins.
//!
//! If the shared log has its first message, the replica begins with it. Otherwise it begins after the oldest checkpoint: a
//! checkpoint names the next records of both logs, and the next message that continues its chain proves that it counts.

use thiserror::Error;

use super::checkpoint::SharedCheckpoint;
use super::place::ReplicaPlace;
use super::terms::{self, SharedIdentity};
use crate::journal::LogStart;
use crate::model::TermStart;
use crate::quorum::{Acceptance, Quorum, Stored, Subject, Unavailable};

/// Bytes of one read.
const READ_BYTES: usize = 2 << 20;

/// Where the logs of an empty replica begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillStart {
    /// Place of the replica.
    pub place: ReplicaPlace,
    /// Start of its log.
    pub log: LogStart,
    /// Start of its side log.
    pub side: LogStart,
}

/// No start of a new replica.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FillError {
    /// The shared log cannot be read now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The messages of the shared log have no checkpoint that is followed by a message. The leader writes both soon.
    #[error("the shared log has no complete checkpoint yet")]
    NoCheckpoint,
}

/// Finds the start of a replica with an empty directory.
pub async fn find_start(shared: &Quorum, identity: SharedIdentity, created: &str) -> Result<FillStart, FillError> {
    let mut finder = CheckpointFinder::default();
    let mut from = 1;
    loop {
        let found = shared.log.read(from, READ_BYTES).await?;
        let Some(last) = found.last().map(|stored| stored.place) else { break };
        if found[0].place == 1 {
            break;
        }
        if let Some((stored, checkpoint)) = found.iter().find_map(|stored| finder.find(stored)) {
            let terms = terms::listed(&*shared.keys).await?.terms;
            let terms = terms.iter().map(|own| TermStart { term: own.term, first: own.first }).collect();
            return Ok(start_after(&stored, &checkpoint, terms, identity, created));
        }
        from = last + 1;
    }
    if from > 1 {
        return Err(FillError::NoCheckpoint);
    }
    let log = |epoch| LogStart { epoch, terms: Vec::new(), next: 1 };
    let place = ReplicaPlace::start(created.to_owned(), identity.epoch);
    Ok(FillStart { place, log: log(identity.epoch), side: log(identity.side_epoch) })
}

fn start_after(
    stored: &Stored,
    checkpoint: &SharedCheckpoint,
    terms: Vec<TermStart>,
    identity: SharedIdentity,
    created: &str,
) -> FillStart {
    let &SharedCheckpoint { epoch, term, next_record, next_side, side_term, .. } = checkpoint;
    let acceptance = Acceptance { epoch, term: Some(term), next_record, next_side, chain: stored.message.chain };
    // Of the side log only its newest term is needed, which the next block continues or ends.
    let side_terms = side_term.map(|term| TermStart { term, first: next_side - 1 }).into_iter().collect();
    FillStart {
        place: ReplicaPlace { created: created.to_owned(), last: stored.place, acceptance },
        log: LogStart { epoch, terms, next: next_record },
        side: LogStart { epoch: identity.side_epoch, terms: side_terms, next: next_side },
    }
}

/// Finds checkpoints that are continued.
#[derive(Default)]
pub(super) struct CheckpointFinder {
    candidate: Option<(Stored, SharedCheckpoint)>,
}

impl CheckpointFinder {
    /// Processes the next message. Returns a checkpoint that it continues.
    pub(super) fn find(&mut self, next: &Stored) -> Option<(Stored, SharedCheckpoint)> {
        let continues = |chain: crate::quorum::Chain| {
            chain.after(next.message.subject, &next.message.payload) == next.message.chain
        };
        let found = self.candidate.take_if(|(stored, _)| continues(stored.message.chain));
        if next.message.subject == Subject::Checkpoint
            && let Some(checkpoint) = SharedCheckpoint::decode(&next.message.payload)
        {
            self.candidate = Some((next.clone(), checkpoint));
        }
        found
    }
}
