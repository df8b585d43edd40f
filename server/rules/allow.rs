//! Codes of warnings that a rule may cause.

use super::set::SetCode;
use crate::query::{Code, Severity};

/// Checks a code below `allow`. Returns what is wrong with it and what to do.
pub(super) fn check_allowed(code: &str) -> Result<(), String> {
    let of_rules = Code::ALL.iter().map(|code| (code.as_str(), code.severity()));
    let all: Vec<_> = of_rules.chain(SetCode::ALL.iter().map(|code| (code.as_str(), code.severity()))).collect();
    match all.iter().find(|(name, _)| *name == code) {
        Some((_, Severity::Warning)) => Ok(()),
        Some((_, Severity::Error)) => {
            Err(format!("{code} is an error; only warnings can be allowed: correct the rule"))
        }
        None => {
            let likely = all.iter().map(|(name, _)| *name).min_by_key(|name| strsim::osa_distance(name, code));
            let likely = likely.filter(|name| strsim::osa_distance(name, code) <= 3);
            let advice =
                likely.map_or("rules check prints the codes".to_owned(), |name| format!("did you mean {name}?"));
            Err(format!("unknown code {code} in allow; {advice}"))
        }
    }
}
