//! The rule by which all replicas read the same blocks out of the shared log. Pure.
//!
//! A message counts only if it continues the log: its epoch is ours, its records follow the records before it, its chain
//! follows the chain before it, and its term is the current one or begins with it. Every other message is passed over.
//! The decision depends on the messages before it only, so all replicas decide alike, wherever their reads begin and end.

use thiserror::Error;

use super::chain::Chain;
use super::place::Subject;
use super::traits::Message;
use crate::model::{Epoch, Sequence, Term};

/// What the bytes of a message state about themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// Log of the records.
    pub epoch: Epoch,
    /// Writer of the message.
    pub term: Term,
    /// First record of a block, in the log or the side log. Of a checkpoint: the next record of the log.
    pub first: Sequence,
    /// The record after the last one of the block. Of a checkpoint: the next record of the side log.
    pub next: Sequence,
    /// True if the first record is the TERM record of `term`.
    pub begins_term: bool,
}

/// Why a message does not count.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Records of another log.
    #[error("message belongs to epoch {0}")]
    Epoch(Epoch),
    /// Its writer did not know all messages before it, or its bytes are damaged.
    #[error("chain of the message is {found}, expected {expected}")]
    Chain {
        /// As computed from the messages before it.
        expected: Chain,
        /// As in the message.
        found: Chain,
    },
    /// Its writer is not the current one.
    #[error("message belongs to term {0}, which is not the current one")]
    Term(Term),
    /// Its records do not follow the records before it.
    #[error("message begins with record {found}, expected {expected}")]
    Sequence {
        /// The next record.
        expected: Sequence,
        /// The first record of the message.
        found: Sequence,
    },
}

/// Where a replica is in the shared log, as far as its messages count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The log.
    pub epoch: Epoch,
    /// The current writer; `None` before the first TERM record.
    pub term: Option<Term>,
    /// Next record of the log.
    pub next_record: Sequence,
    /// Next record of the side log.
    pub next_side: Sequence,
    /// Chain over all messages that count.
    pub chain: Chain,
}

impl Acceptance {
    /// Returns the start of a new log.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch, term: None, next_record: 1, next_side: 1, chain: Chain::START }
    }

    /// Advances over a message that counts. Returns a [`Refusal`], and stays where it is, if it does not.
    pub fn accept(&mut self, message: &Message, head: &BlockHead) -> Result<(), Refusal> {
        if head.epoch != self.epoch {
            return Err(Refusal::Epoch(head.epoch));
        }
        let chain = self.chain.after(message.subject, &message.payload);
        if chain != message.chain {
            return Err(Refusal::Chain { expected: chain, found: message.chain });
        }
        let begins_term = message.subject == Subject::Log && head.begins_term;
        // A term begins once: its writer continues it without another TERM record.
        if begins_term == (self.term == Some(head.term)) {
            return Err(Refusal::Term(head.term));
        }
        match message.subject {
            Subject::Log => self.next_record = following(self.next_record, head)?,
            Subject::Side => self.next_side = following(self.next_side, head)?,
            Subject::Checkpoint => {
                expect(self.next_record, head.first)?;
                expect(self.next_side, head.next)?;
            }
        }
        self.term = Some(head.term);
        self.chain = chain;
        Ok(())
    }
}

fn expect(expected: Sequence, found: Sequence) -> Result<(), Refusal> {
    if expected == found { Ok(()) } else { Err(Refusal::Sequence { expected, found }) }
}

/// Returns the record after a block that has to begin at `expected`.
fn following(expected: Sequence, head: &BlockHead) -> Result<Sequence, Refusal> {
    expect(expected, head.first)?;
    // A block has at least one record.
    if head.next > head.first {
        Ok(head.next)
    } else {
        Err(Refusal::Sequence { expected: head.first + 1, found: head.next })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    /// A message of a writer whose view of the log is `at`.
    fn message(at: &Acceptance, subject: Subject, term: u64, count: u64, begins_term: bool) -> (Message, BlockHead) {
        let (first, next) = match subject {
            Subject::Log => (at.next_record, at.next_record + count),
            Subject::Side => (at.next_side, at.next_side + count),
            Subject::Checkpoint => (at.next_record, at.next_side),
        };
        let head = BlockHead { epoch: at.epoch, term: Term(term), first, next, begins_term };
        let payload = Bytes::from(format!("{subject:?} {term} {first} {next}"));
        (Message { subject, chain: at.chain.after(subject, &payload), payload }, head)
    }

    #[test]
    fn only_continuation_of_log_counts() {
        let mut at = Acceptance::new(EPOCH);
        let (begin, head) = message(&at, Subject::Log, 1, 2, true);
        at.accept(&begin, &head).expect("a new log begins with a term");
        assert_eq!((at.next_record, at.next_side, at.term), (3, 1, Some(Term(1))));

        let (block, good) = message(&at, Subject::Log, 1, 5, false);
        let (next_term, begins) = message(&at, Subject::Log, 2, 1, true);
        let (checkpoint, of_checkpoint) = message(&at, Subject::Checkpoint, 1, 0, false);
        let (side, of_side) = message(&at, Subject::Side, 1, 3, false);
        let forged = Message { chain: Chain::START, ..block.clone() };
        let sequence = |expected, found| Err(Refusal::Sequence { expected, found });
        for (name, message, head, expected) in [
            ("block", &block, good, Ok(())),
            ("another epoch", &block, BlockHead { epoch: Epoch(8), ..good }, Err(Refusal::Epoch(Epoch(8)))),
            ("forged", &forged, good, Err(Refusal::Chain { expected: block.chain, found: Chain::START })),
            ("another writer", &block, BlockHead { term: Term(2), ..good }, Err(Refusal::Term(Term(2)))),
            ("term begins again", &block, BlockHead { begins_term: true, ..good }, Err(Refusal::Term(Term(1)))),
            ("later record", &block, BlockHead { first: 4, ..good }, sequence(3, 4)),
            ("no record", &block, BlockHead { next: 3, ..good }, sequence(4, 3)),
            ("next term", &next_term, begins, Ok(())),
            ("side log", &side, of_side, Ok(())),
            (
                "side log begins term",
                &side,
                BlockHead { begins_term: true, term: Term(3), ..of_side },
                Err(Refusal::Term(Term(3))),
            ),
            ("checkpoint", &checkpoint, of_checkpoint, Ok(())),
            ("checkpoint of another record", &checkpoint, BlockHead { first: 9, ..of_checkpoint }, sequence(3, 9)),
            ("checkpoint of another side log", &checkpoint, BlockHead { next: 9, ..of_checkpoint }, sequence(1, 9)),
        ] {
            let mut after = at;
            assert_eq!(after.accept(message, &head), expected, "{name}");
            assert_eq!(after == at, expected.is_err(), "{name}: a refused message changes nothing");
        }
    }

    /// One attempt to write: by which of three writers, and whether it reads to the end before.
    type Attempt = (usize, bool, bool, u8, u64);

    /// Three writers append to one log. A writer that did not read continues what it believes to be the log, as a
    /// leader does whose fence fails. Returns all messages as stored.
    fn history(attempts: &[Attempt]) -> Vec<(Message, BlockHead)> {
        let mut stored = Vec::new();
        let mut views = [(Acceptance::new(EPOCH), 0_u64, 0_usize); 3];
        for (term, &(writer, reads, begins, subject, count)) in attempts.iter().enumerate() {
            let (view, own_term, read) = &mut views[writer];
            if reads {
                for (message, head) in &stored[*read..] {
                    view.accept(message, head).ok();
                }
                *read = stored.len();
            }
            let subject = [Subject::Log, Subject::Side, Subject::Checkpoint][usize::from(subject)];
            let begins = begins && subject == Subject::Log;
            if begins {
                *own_term = term as u64 + 1;
            }
            let (message, head) = message(view, subject, *own_term, count, begins);
            // It believes in its own message.
            view.accept(&message, &head).ok();
            stored.push((message, head));
        }
        stored
    }

    proptest! {
        #[test]
        fn replicas_pass_over_same_blocks(
            attempts in vec((0..3_usize, any::<bool>(), any::<bool>(), 0..3_u8, 1..4_u64), 1..60),
            restarts in vec(0..60_usize, 0..5),
        ) {
            let stored = history(&attempts);
            let (mut one, mut two) = (Acceptance::new(EPOCH), Acceptance::new(EPOCH));
            let (mut record, mut chain) = (1, Chain::START);
            for (at, (message, head)) in stored.iter().enumerate() {
                if restarts.contains(&at) {
                    // A restart continues from what it persisted, and reads some messages again.
                    let before = two;
                    for (message, head) in &stored[at.saturating_sub(3)..at] {
                        prop_assert!(two.accept(message, head).is_err());
                    }
                    prop_assert_eq!(before, two);
                }
                prop_assert_eq!(one.accept(message, head), two.accept(message, head));
                prop_assert_eq!(one, two);
                // What counts is one chain of dense records.
                if one.chain != chain {
                    prop_assert_eq!(chain.after(message.subject, &message.payload), one.chain);
                    if message.subject == Subject::Log {
                        prop_assert_eq!(head.first, record);
                        record = head.next;
                    }
                    chain = one.chain;
                }
                prop_assert_eq!(record, one.next_record);
            }
            prop_assert_eq!(stored.is_empty(), false);
        }
    }
}
