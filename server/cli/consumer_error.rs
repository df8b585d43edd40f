use std::fmt::Write;

use powerstream_consumer::{ConsumerError, Refusal, RefusalKind};

use super::exit::Exit;

/// Returns the exit of a command whose consumer ended.
pub(super) fn exit_of(error: &ConsumerError) -> Exit {
    match error {
        ConsumerError::Violated(_) => Exit::ContractViolated,
        ConsumerError::Refused(refusal) => match refusal.kind {
            RefusalKind::Request => Exit::Usage,
            RefusalKind::Access => Exit::Refused,
            RefusalKind::Position => Exit::Position,
        },
    }
}

/// Describes the error, with advice about the flags of the commands.
pub(super) fn describe(error: &ConsumerError) -> String {
    match error {
        ConsumerError::Violated(_) => error.to_string(),
        ConsumerError::Refused(refusal) => format!("{refusal}{}", advice(refusal)),
    }
}

fn advice(refusal: &Refusal) -> String {
    let mut text = String::new();
    let value = |key| refusal.metadata.get(key).filter(|value| !value.is_empty());
    match refusal.reason.as_str() {
        "POSITION_TOO_OLD" => {
            if let Some(time) = value("oldest_time") {
                write!(text, "; the oldest record was received at {time}").ok();
            }
            text.push_str("; --resume-policy earliest or latest continues without them");
        }
        "POSITION_IN_FUTURE" => {
            if let Some(time) = value("head_time") {
                write!(text, "; check the clock of this machine: the gateway's time is {time}").ok();
            }
        }
        "TOKEN_INVALID" => text.push_str(", as with --start 10m (and without the token file, if there is one)"),
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_described_with_remedy() {
        let check = |reason: &str, key: &str, expected: &str| {
            let metadata = [(key.to_owned(), "today".to_owned())].into();
            let refusal =
                Refusal { kind: RefusalKind::Position, reason: reason.into(), message: "words".into(), metadata };
            assert_eq!(describe(&refusal.into()), format!("{reason}: words{expected}"));
        };
        let remedy = "; --resume-policy earliest or latest continues without them";
        check("POSITION_TOO_OLD", "oldest_time", &format!("; the oldest record was received at today{remedy}"));
        check("POSITION_TOO_OLD", "other", remedy);
        check("POSITION_IN_FUTURE", "head_time", "; check the clock of this machine: the gateway's time is today");
        check("EXACT_UNAVAILABLE", "other", "");
    }
}
