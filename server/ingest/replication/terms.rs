//! Epochs and terms of an account in the shared keys.
//!
//! A term is listed before its TERM record is written, so that a replica with an empty directory knows the term of every
//! record that it has not. A listed term without records is empty: the next one begins at the same record.
//!
//! The key can be lost: the nodes were restored from a copy of the time before it. A joining replica and the next leader
//! write it again, with the same epochs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Epoch, Sequence, Term, TermStart};
use crate::quorum::{CompareAndSetError, LogPlace, Quorum, SharedKeys, Unavailable};

/// Key of the terms.
const KEY: &str = "terms";
/// Attempts of one call. Each fails only if another replica wrote, or if the outcome is unknown.
const ATTEMPTS_MAX: usize = 16;

/// Maximum terms in the list; the oldest are removed. A replica that begins without one of them resumes tokens of that
/// term by time.
const TERMS_MAX: usize = 4_096;

/// Identity of the two logs of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedIdentity {
    /// Epoch of the account's log.
    pub epoch: Epoch,
    /// Epoch of its side log.
    pub side_epoch: Epoch,
}

impl SharedIdentity {
    /// Returns the identity that belongs to a log. It is the same for all replicas, also after the key is lost.
    pub const fn of_log(epoch: Epoch) -> Self {
        Self { epoch, side_epoch: Epoch(!epoch.0) }
    }
}

/// A term in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTerm {
    /// The term.
    pub term: Term,
    /// Its first record.
    pub first: Sequence,
    /// Place after which its TERM record is to be stored. If another message is there, the term has no records.
    pub after: LogPlace,
    /// The replica that listed it.
    pub replica: String,
}

/// Value of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedTerms {
    /// Epochs.
    pub identity: SharedIdentity,
    /// All terms, oldest first.
    pub terms: Vec<ListedTerm>,
}

#[derive(Serialize, Deserialize)]
struct TermsContent {
    epoch: String,
    side_epoch: String,
    terms: Vec<TermContent>,
}

#[derive(Serialize, Deserialize)]
struct TermContent {
    term: String,
    first: Sequence,
    after: LogPlace,
    replica: String,
}

impl SharedTerms {
    /// Adds a term. Earlier terms of the same replica that were to begin at an earlier place and have no records are
    /// removed; `begun` has the terms with records. Returns false if the term is listed already.
    pub fn list(&mut self, listed: ListedTerm, begun: impl Fn(Term) -> bool) -> bool {
        if self.terms.iter().any(|known| known.term == listed.term) {
            return false;
        }
        // At the same place its TERM record can still arrive.
        let is_empty = |own: &ListedTerm| own.replica == listed.replica && own.after < listed.after && !begun(own.term);
        self.terms.retain(|own| !is_empty(own));
        self.terms.push(listed);
        let beyond = self.terms.len().saturating_sub(TERMS_MAX);
        self.terms.drain(..beyond);
        true
    }

    /// Returns the value as stored.
    pub fn encode(&self) -> Bytes {
        let term = |own: &ListedTerm| TermContent {
            term: own.term.to_string(),
            first: own.first,
            after: own.after,
            replica: own.replica.clone(),
        };
        let content = TermsContent {
            epoch: self.identity.epoch.to_string(),
            side_epoch: self.identity.side_epoch.to_string(),
            terms: self.terms.iter().map(term).collect(),
        };
        serde_json::to_vec(&content).expect("its fields are texts and numbers").into()
    }

    /// Reads a stored value; `None` if it is of another form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let content: TermsContent = serde_json::from_slice(bytes).ok()?;
        let epoch = |text: &str| u128::from_str_radix(text, 16).ok().map(Epoch);
        let term = |own: TermContent| {
            let term = Term(u64::from_str_radix(&own.term, 16).ok()?);
            Some(ListedTerm { term, first: own.first, after: own.after, replica: own.replica })
        };
        Some(Self {
            identity: SharedIdentity { epoch: epoch(&content.epoch)?, side_epoch: epoch(&content.side_epoch)? },
            terms: content.terms.into_iter().map(term).collect::<Option<_>>()?,
        })
    }
}

/// Returns the identity of the account's logs, and the incarnation of the shared log. The first replica creates the log
/// with the `proposed` epoch.
pub async fn join(shared: &Quorum, proposed: Epoch) -> Result<(SharedIdentity, String), Unavailable> {
    let info = shared.log.create(proposed).await?;
    let terms = update(&*shared.keys, |stored| match stored {
        Some(_) => None,
        None => Some(SharedTerms { identity: SharedIdentity::of_log(info.epoch), terms: Vec::new() }),
    });
    let identity = terms.await?.identity;
    if identity.epoch == info.epoch {
        Ok((identity, info.created))
    } else {
        Err(Unavailable(format!("shared log has epoch {}, its key has epoch {}", info.epoch, identity.epoch)))
    }
}

/// Returns the list.
pub(super) async fn listed(keys: &dyn SharedKeys) -> Result<SharedTerms, Unavailable> {
    update(keys, |_| None).await
}

/// Adds a term to the list. `begun` are the terms with records, oldest first. All after the newest one that is listed are
/// added, too: a restore of the key has lost them.
pub(super) async fn list_term(
    keys: &dyn SharedKeys,
    identity: SharedIdentity,
    listed: &ListedTerm,
    begun: &[TermStart],
) -> Result<(), Unavailable> {
    let has_begun = |term: Term| begun.iter().any(|start| start.term == term);
    let terms = update(keys, |stored| {
        let mut terms = stored.cloned().unwrap_or(SharedTerms { identity, terms: Vec::new() });
        if terms.identity != identity {
            return None;
        }
        let is_listed = |start: &TermStart| terms.terms.iter().any(|own| own.term == start.term);
        let lost = &begun[begun.iter().rposition(is_listed).map_or(0, |newest| newest + 1)..];
        let known = |&TermStart { term, first }: &TermStart| ListedTerm { term, first, after: 0, ..listed.clone() };
        terms.terms.extend(lost.iter().map(known));
        let is_added = terms.list(listed.clone(), has_begun);
        (is_added || stored != Some(&terms)).then_some(terms)
    });
    let found = terms.await?.identity;
    if found == identity {
        Ok(())
    } else {
        Err(Unavailable(format!("key {KEY} is of other logs: {found:?}, this replica has {identity:?}")))
    }
}

/// Replaces the value by what `change` returns for it; `None` if it is as wanted. Returns the value.
async fn update(
    keys: &dyn SharedKeys,
    change: impl Fn(Option<&SharedTerms>) -> Option<SharedTerms>,
) -> Result<SharedTerms, Unavailable> {
    for _ in 0..ATTEMPTS_MAX {
        let entry = keys.get(KEY).await?;
        let stored = match &entry {
            Some(entry) => {
                let found = SharedTerms::decode(&entry.value);
                Some(found.ok_or_else(|| Unavailable(format!("malformed value of key {KEY}")))?)
            }
            None => None,
        };
        let Some(changed) = change(stored.as_ref()) else {
            return stored.ok_or_else(|| Unavailable(format!("key {KEY} does not exist")));
        };
        let expected = entry.map(|entry| entry.revision);
        match keys.compare_and_set(KEY, expected, changed.encode()).await {
            Ok(_) => return Ok(changed),
            Err(CompareAndSetError::Rejected(reason)) => return Err(Unavailable(reason)),
            // The read shows what became of it.
            Err(CompareAndSetError::Conflict | CompareAndSetError::Unknown(_)) => {}
        }
    }
    Err(Unavailable(format!("key {KEY} was not updated in {ATTEMPTS_MAX} attempts")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(term: u64, first: Sequence, after: LogPlace, replica: &str) -> ListedTerm {
        ListedTerm { term: Term(term), first, after, replica: replica.into() }
    }

    #[test]
    fn empty_terms_of_own_are_replaced() {
        let identity = SharedIdentity { epoch: Epoch(u128::MAX), side_epoch: Epoch(1) };
        let mut terms = SharedTerms { identity, terms: Vec::new() };
        let begun = |term: Term| term == Term(1);
        for (next, expected) in [
            (listed(1, 1, 0, "a"), &[1][..]),
            (listed(2, 10, 5, "b"), &[1, 2]),
            // The record of term 3 can still arrive.
            (listed(3, 10, 5, "a"), &[1, 2, 3]),
            (listed(4, 10, 5, "a"), &[1, 2, 3, 4]),
            // Another message is there now.
            (listed(5, 12, 6, "a"), &[1, 2, 5]),
            (listed(6, 12, 6, "b"), &[1, 5, 6]),
        ] {
            assert!(terms.list(next.clone(), begun));
            assert!(!terms.list(next, begun), "once");
            assert_eq!(terms.terms.iter().map(|own| own.term.0).collect::<Vec<_>>(), expected);
        }
        assert_eq!(SharedTerms::decode(&terms.encode()), Some(terms));
        assert_eq!(SharedTerms::decode(b"{}"), None);
    }

    #[test]
    fn list_of_terms_is_bounded() {
        let identity = SharedIdentity { epoch: Epoch(1), side_epoch: Epoch(2) };
        let mut terms = SharedTerms { identity, terms: Vec::new() };
        let last = TERMS_MAX as u64 + 5;
        for term in 1..=last {
            assert!(terms.list(listed(term, term, term, "a"), |_| true));
        }
        let kept = (terms.terms.len(), terms.terms.first().map(|own| own.term), terms.terms.last().map(|own| own.term));
        assert_eq!(kept, (TERMS_MAX, Some(Term(6)), Some(Term(last))));
        // JetStream's default limit of a message.
        assert!(terms.encode().len() < 1 << 20);
    }
}
