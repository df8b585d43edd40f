//! Where a replica with an empty directory begins.
//!
//! If the shared log has its first message, the replica begins with it. Otherwise it begins after the oldest checkpoint: a
//! checkpoint names the next records of both logs, and the next message that continues its chain proves that it counts.
//! The head of a log that continues an older one needs no such message.

use thiserror::Error;

use super::checkpoint::SharedCheckpoint;
use super::place::ReplicaPlace;
use super::terms;
use crate::journal::LogStart;
use crate::model::TermStart;
use crate::quorum::{Chain, Message, Quorum, SharedIdentity, Stored, Subject, Unavailable};

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
    /// There was a log, and it has no messages any more. A replica that has its records begins it again.
    #[error(
        "the shared log has no messages any more: start a replica that has its records, or delete the stream and the bucket \
         of the account to begin a new log"
    )]
    NoMessages,
}

/// Finds the start of a replica with an empty directory.
pub async fn find_start(shared: &Quorum, identity: SharedIdentity, created: &str) -> Result<FillStart, FillError> {
    let mut finder = CheckpointFinder::default();
    let mut from = 1;
    loop {
        let found = shared.log.read(from, READ_BYTES).await?;
        let Some(last) = found.last().map(|stored| stored.place) else { break };
        let head = head_of_log(&found[0]).filter(|_| from == 1).map(|head| (found[0].clone(), head));
        if found[0].place == 1 && head.is_none() {
            return Ok(start_of_log(identity, created));
        }
        if let Some((stored, checkpoint)) = head.or_else(|| found.iter().find_map(|stored| finder.find(stored))) {
            let terms = terms::listed(&*shared.keys).await?.terms;
            if !terms.iter().any(|own| own.term == checkpoint.term) {
                let reason =
                    "the key of terms is older than the shared log: a node is behind, or the next leader writes it";
                return Err(Unavailable(reason.into()).into());
            }
            let terms = terms.iter().map(|own| TermStart { term: own.term, first: own.first }).collect();
            return Ok(start_after(&stored, &checkpoint, terms, identity, created));
        }
        from = last + 1;
    }
    if from > 1 {
        return Err(FillError::NoCheckpoint);
    }
    let is_used = shared.log.info().await?.is_none_or(|info| info.last > 0);
    if is_used || terms::has_earlier_log(&*shared.keys, created).await? {
        return Err(FillError::NoMessages);
    }
    Ok(start_of_log(identity, created))
}

/// Returns the checkpoint with which a log begins that continues an older one; `None` if this message is another one. Its
/// chain proves it: that of all other messages continues what was before them.
pub(super) fn head_of_log(first: &Stored) -> Option<SharedCheckpoint> {
    let Message { subject, chain, payload } = &first.message;
    let is_head = *subject == Subject::Checkpoint && Chain::START.after(*subject, payload) == *chain;
    SharedCheckpoint::decode(payload).filter(|_| is_head)
}

fn start_of_log(identity: SharedIdentity, created: &str) -> FillStart {
    let log = |epoch| LogStart { epoch, terms: Vec::new(), next: 1 };
    let place = ReplicaPlace::start(created.to_owned(), identity.epoch);
    FillStart { place, log: log(identity.epoch), side: log(identity.side_epoch) }
}

fn start_after(
    stored: &Stored,
    checkpoint: &SharedCheckpoint,
    terms: Vec<TermStart>,
    identity: SharedIdentity,
    created: &str,
) -> FillStart {
    let &SharedCheckpoint { epoch, next_record, next_side, side_term, .. } = checkpoint;
    // Of the side log only its newest term is needed, which the next block continues or ends.
    let side_terms = side_term.map(|term| TermStart { term, first: next_side - 1 }).into_iter().collect();
    FillStart {
        place: ReplicaPlace::after(created.to_owned(), stored, checkpoint),
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
        let continues = |chain: Chain| chain.after(next.message.subject, &next.message.payload) == next.message.chain;
        let found = self.candidate.take_if(|(stored, _)| continues(stored.message.chain));
        if next.message.subject == Subject::Checkpoint
            && let Some(checkpoint) = SharedCheckpoint::decode(&next.message.payload)
        {
            self.candidate = Some((next.clone(), checkpoint));
        }
        found
    }
}
