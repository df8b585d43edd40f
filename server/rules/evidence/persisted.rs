//! The matches in a file, so that a restart continues the counts. A lost file costs the counts, and no rule is then dead for
//! a week.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Evidence;
use super::rule_matches::RuleMatches;
use crate::model::UnixMillis;

/// Version of the file format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct EvidenceFile {
    version: u32,
    watched_since: Option<UnixMillis>,
    watched_until: UnixMillis,
    /// Removed rules and the time of removal. Ids are texts: they exceed what JSON readers keep exact.
    retired: Vec<(String, UnixMillis)>,
    matches: HashMap<String, RuleMatches>,
}

/// Returns the file of the matches.
pub fn encode(evidence: &Evidence) -> serde_json::Result<Vec<u8>> {
    let known = evidence.known.iter().flatten().map(|(id, own)| (*id, &own.matches));
    let matches = known.chain(evidence.restored.iter().map(|(id, matches)| (*id, matches)));
    serde_json::to_vec(&EvidenceFile {
        version: VERSION,
        watched_since: evidence.watched_since,
        watched_until: evidence.watched_until,
        retired: evidence.retired.iter().map(|(id, removed)| (id.to_string(), *removed)).collect(),
        matches: matches.map(|(id, matches)| (id.to_string(), matches.clone())).collect(),
    })
}

/// Reads the file of the matches.
pub fn decode(bytes: &[u8]) -> Result<Evidence, String> {
    let file: EvidenceFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if file.version != VERSION {
        return Err(format!("version {} is not supported; this gateway writes version {VERSION}", file.version));
    }
    let id = |text: &str| text.parse::<u64>().map_err(|_| format!("invalid rule id {text:?}"));
    Ok(Evidence {
        watched_since: file.watched_since,
        watched_until: file.watched_until,
        retired: file.retired.into_iter().map(|(text, at)| Ok((id(&text)?, at))).collect::<Result<_, String>>()?,
        restored: file.matches.into_iter().map(|(text, own)| Ok((id(&text)?, own))).collect::<Result<_, String>>()?,
        ..Evidence::default()
    })
}
