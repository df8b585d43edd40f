//! Epochs and terms of an account in the shared keys.
//!
//! A term is listed before its TERM record is written, so that a replica with an empty directory knows the term of every
//! record that it has not. A listed term without records is empty: the next one begins at the same record.
//!
//! The key can be lost: the nodes were restored from a copy of the time before it. A joining replica and the next leader
//! write it again, with the same epochs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::place::ReplicaPlace;
use crate::model::{Epoch, Sequence, Term, TermStart};
use crate::quorum::{CompareAndSetError, KeyEntry, LogPlace, Quorum, SharedIdentity, SharedKeys, Unavailable};

/// Key of the terms.
const KEY: &str = "terms";
/// Attempts of one call. Each fails only if another replica wrote, or if the outcome is unknown.
const ATTEMPTS_MAX: usize = 16;

/// Maximum terms in the list; the oldest are removed. A replica that begins without one of them resumes tokens of that
/// term by time.
const TERMS_MAX: usize = 4_096;

/// A term in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTerm {
    /// The term.
    pub term: Term,
    /// Its first record.
    pub first: Sequence,
    /// Incarnation of the shared log for which it was listed; empty if a replica had it in its log when it joined.
    pub created: String,
    /// Place in it after which its TERM record is to be stored. If another message is there, the term has no records.
    pub after: LogPlace,
    /// The replica that listed it.
    pub replica: String,
}

impl ListedTerm {
    /// Returns a term of the log of a replica that joins.
    fn of_own(&TermStart { term, first }: &TermStart) -> Self {
        Self { term, first, created: String::new(), after: 0, replica: String::new() }
    }

    /// Returns a term that begins at this place.
    pub(super) fn at(place: &ReplicaPlace, term: Term, replica: &str) -> Self {
        let ReplicaPlace { created, last, acceptance } = place;
        let (created, replica) = (created.clone(), replica.to_owned());
        Self { term, first: acceptance.next_record, created, after: *last, replica }
    }
}

/// Value of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedTerms {
    /// Epochs.
    pub identity: SharedIdentity,
    /// All terms, oldest first.
    pub terms: Vec<ListedTerm>,
    /// The record after the last one that some replica appends again now. Replicas with fewer records leave it the lease.
    pub restored_to: Sequence,
}

#[derive(Serialize, Deserialize)]
struct TermsContent {
    epoch: String,
    side_epoch: String,
    terms: Vec<TermContent>,
    #[serde(default)]
    restored_to: Sequence,
}

#[derive(Serialize, Deserialize)]
struct TermContent {
    term: String,
    first: Sequence,
    #[serde(default)]
    created: String,
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
        let is_before = |own: &ListedTerm| own.created == listed.created && own.after < listed.after;
        let is_empty = |own: &ListedTerm| own.replica == listed.replica && is_before(own) && !begun(own.term);
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
            created: own.created.clone(),
            after: own.after,
            replica: own.replica.clone(),
        };
        let content = TermsContent {
            epoch: self.identity.epoch.to_string(),
            side_epoch: self.identity.side_epoch.to_string(),
            terms: self.terms.iter().map(term).collect(),
            restored_to: self.restored_to,
        };
        serde_json::to_vec(&content).expect("its fields are texts and numbers").into()
    }

    /// Reads a stored value; `None` if it is of another form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let content: TermsContent = serde_json::from_slice(bytes).ok()?;
        let epoch = |text: &str| u128::from_str_radix(text, 16).ok().map(Epoch);
        let term = |own: TermContent| {
            let term = Term(u64::from_str_radix(&own.term, 16).ok()?);
            let TermContent { first, created, after, replica, .. } = own;
            Some(ListedTerm { term, first, created, after, replica })
        };
        Some(Self {
            identity: SharedIdentity { epoch: epoch(&content.epoch)?, side_epoch: epoch(&content.side_epoch)? },
            terms: content.terms.into_iter().map(term).collect::<Option<_>>()?,
            restored_to: content.restored_to,
        })
    }
}

/// Returns the identity of the account's logs, and the incarnation of the shared log. The first replica creates the log
/// with the `proposed` identity, and lists the terms that its own log has, so that no replica without records leads. A log
/// that was deleted has its identity in the key, and is created again with it.
pub async fn join(
    shared: &Quorum,
    proposed: SharedIdentity,
    own: &[TermStart],
) -> Result<(SharedIdentity, String), Unavailable> {
    let identity = shared.log.info().await?.map_or(proposed, |info| info.identity);
    let terms = update(&*shared.keys, |stored| match stored {
        Some(_) => None,
        None => {
            let terms = own.iter().map(ListedTerm::of_own).collect();
            Some(SharedTerms { identity, terms, restored_to: 0 })
        }
    });
    let identity = terms.await?.identity;
    let info = shared.log.create(identity).await?;
    if identity.epoch == info.identity.epoch {
        Ok((identity, info.created))
    } else {
        let found = info.identity.epoch;
        Err(Unavailable(format!("shared log has epoch {found}, its key has epoch {}", identity.epoch)))
    }
}

/// True if a leader wrote, or was to write, to an earlier incarnation of the shared log than `created`.
pub(super) async fn has_earlier_log(keys: &dyn SharedKeys, created: &str) -> Result<bool, Unavailable> {
    // A log that began here has its key.
    Ok(found(keys).await?.is_none_or(|terms| terms.terms.iter().any(|own| own.created != created)))
}

/// True if a replica has led: the terms are not only those of the log that was moved in.
pub(super) async fn has_led(keys: &dyn SharedKeys) -> Result<bool, Unavailable> {
    Ok(found(keys).await?.is_none_or(|terms| terms.terms.iter().any(|own| !own.created.is_empty())))
}

/// Returns the list.
pub(super) async fn listed(keys: &dyn SharedKeys) -> Result<SharedTerms, Unavailable> {
    found(keys).await?.ok_or_else(|| Unavailable(format!("key {KEY} does not exist")))
}

async fn found(keys: &dyn SharedKeys) -> Result<Option<SharedTerms>, Unavailable> {
    keys.get(KEY).await?.map(|entry| decoded(&entry)).transpose()
}

fn decoded(entry: &KeyEntry) -> Result<SharedTerms, Unavailable> {
    SharedTerms::decode(&entry.value).ok_or_else(|| Unavailable(format!("malformed value of key {KEY}")))
}

/// A term that is to be listed.
pub(super) struct TermListing<'a> {
    pub(super) listed: &'a ListedTerm,
    /// The terms with records, oldest first. All after the newest one that is listed are added, too: a restore of the key has
    /// lost them.
    pub(super) begun: &'a [TermStart],
    /// The record to which the caller appends again what the log has lost; 0 if it does not.
    pub(super) restored_to: Sequence,
    /// The caller does not lead before a replica that has more records and was to append them again; `None` if it is that
    /// one. It has waited for a restoration to this record.
    pub(super) yields: Option<Sequence>,
}

/// Adds a term to the list. If the caller yields, returns the record to which the log is being restored. That is decided by
/// the value that the listing would replace: a read alone may be stale.
pub(super) async fn list_term(
    keys: &dyn SharedKeys,
    identity: SharedIdentity,
    TermListing { listed, begun, restored_to, yields }: TermListing<'_>,
) -> Result<Option<Sequence>, Unavailable> {
    let has_begun = |term: Term| begun.iter().any(|start| start.term == term);
    let terms = update(keys, |stored| {
        let mut terms = stored.cloned().unwrap_or(SharedTerms { identity, terms: Vec::new(), restored_to });
        let is_behind = terms.restored_to > listed.first && yields.is_some_and(|waited| waited != terms.restored_to);
        if terms.identity != identity || is_behind {
            return None;
        }
        let is_listed = |start: &TermStart| terms.terms.iter().any(|own| own.term == start.term);
        let lost = &begun[begun.iter().rposition(is_listed).map_or(0, |newest| newest + 1)..];
        let known = |&TermStart { term, first }: &TermStart| ListedTerm { term, first, after: 0, ..listed.clone() };
        terms.terms.extend(lost.iter().map(known));
        terms.restored_to = restored_to;
        let is_added = terms.list(listed.clone(), has_begun);
        (is_added || stored != Some(&terms)).then_some(terms)
    });
    let found = terms.await?;
    if found.identity != identity {
        let found = found.identity;
        return Err(Unavailable(format!("key {KEY} is of other logs: {found:?}, this replica has {identity:?}")));
    }
    let is_listed = found.terms.iter().any(|own| own.term == listed.term);
    Ok((!is_listed).then_some(found.restored_to))
}

/// Replaces the value by what `change` returns for it; `None` if it is as wanted. Returns the value.
async fn update(
    keys: &dyn SharedKeys,
    change: impl Fn(Option<&SharedTerms>) -> Option<SharedTerms>,
) -> Result<SharedTerms, Unavailable> {
    for _ in 0..ATTEMPTS_MAX {
        let entry = keys.get(KEY).await?;
        let stored = entry.as_ref().map(decoded).transpose()?;
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
        ListedTerm { term: Term(term), first, created: "1".into(), after, replica: replica.into() }
    }

    #[test]
    fn empty_terms_of_own_are_replaced() {
        let identity = SharedIdentity { epoch: Epoch(u128::MAX), side_epoch: Epoch(1) };
        let mut terms = SharedTerms { identity, terms: Vec::new(), restored_to: 0 };
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
        let mut terms = SharedTerms { identity, terms: Vec::new(), restored_to: 0 };
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
