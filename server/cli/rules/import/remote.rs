//! Rules of an account, read from X itself with one request.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::super::gateway::Failure;
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::clock::{Clock, Elapsed};
use crate::escape;
use crate::rules::{FILE_BYTES_MAX, FileRule};
use crate::secret::SecretSource;
use crate::xapi::{Client, ClientOptions, RuleAnswer, RuleCommand, RuleRequest, RuleTransport, XRule};

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time of the request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Flags about X.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RemoteArgs {
    /// Read the rules from X instead of a gateway: one request, which counts against X's 50 in 24 hours.
    #[arg(long, requires = "x_bearer_file", conflicts_with_all = ["addr", "set", "bearer_file"])]
    pub(super) remote: bool,
    /// File with the account's bearer token at X.
    #[arg(long, value_name = "PATH", requires = "remote")]
    x_bearer_file: Option<PathBuf>,
    /// Base URL of X's API.
    #[arg(long, default_value = "https://api.x.com", requires = "remote")]
    url: Url,
}

/// Reads the rules from X.
pub(super) async fn read(args: &RemoteArgs) -> Result<Vec<FileRule>, Failure> {
    let usage = |text: String| Failure::Other(Exit::Usage, text);
    let path = args.x_bearer_file.clone().unwrap_or_default();
    let bearer = SecretSource::File(path).read().map_err(|error| usage(error.to_string()))?;
    let clock = Clock::system();
    let options = ClientOptions { connect_timeout: CONNECT_TIMEOUT, proxy: None, ca_file: None };
    let client = Client::new(&options, &clock).map_err(|error| usage(error.to_string()))?;
    let response_bytes_max = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
    let request = RuleRequest { base_url: args.url.clone(), bearer, command: RuleCommand::List, response_bytes_max };
    print_status(format_args!("one request to {}: it counts against X's 50 in 24 hours", request.url()));
    match clock.timeout(TIMEOUT, client.request(&request)).await {
        Ok(Ok(answer)) => rules(answer),
        Ok(Err(failure)) => Err(Failure::Other(Exit::Failed, failure.to_string())),
        Err(Elapsed) => {
            Err(Failure::Other(Exit::Failed, "no answer within 60 s; X may have counted the request".to_owned()))
        }
    }
}

fn rules(answer: RuleAnswer) -> Result<Vec<FileRule>, Failure> {
    let status = answer.status;
    let advice = match status {
        401 | 403 => "; the bearer token may not read the rules of the account",
        429 => "; wait until X's limit ends, and use a gateway, which needs no request",
        _ => "",
    };
    let exit = if matches!(status, 401 | 403) { Exit::Refused } else { Exit::Failed };
    let failed = |text: &str| {
        let detail = escape::line(&answer.detail).into_owned();
        let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
        Failure::Other(exit, format!("X answered with status {status}{text}{detail}{advice}"))
    };
    if !answer.is_success() {
        return Err(failed(""));
    }
    let Some(document) = answer.document.as_ref() else { return Err(failed(" and no list of rules")) };
    // An account without rules has no list.
    Ok(document.rules.iter().flatten().cloned().map(file_rule).collect())
}

fn file_rule(rule: XRule) -> FileRule {
    FileRule { value: rule.value, tag: rule.tag, ..FileRule::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xapi::Headers;

    fn answered(status: u16, body: &str) -> Result<Vec<FileRule>, Failure> {
        rules(RuleAnswer::read(status, Headers::default(), Some(body.as_bytes()), "secret"))
    }

    #[test]
    fn rules_of_x_become_file() {
        let body = r#"{"data": [{"id": "7", "value": "cat", "tag": "pets"}, {"id": "8", "value": "dog"}]}"#;
        let read = answered(200, body).expect("rules");
        let found: Vec<_> = read.iter().map(|rule| (rule.value.as_str(), rule.tag.as_deref())).collect();
        assert_eq!(found, [("cat", Some("pets")), ("dog", None)]);
        assert!(answered(200, r#"{"meta": {"sent": "x"}}"#).is_ok_and(|rules| rules.is_empty()));
    }

    #[test]
    fn refusals_of_x_are_named() {
        for (status, body, expected, words) in [
            (401, "{}", Exit::Refused, "bearer token"),
            (429, "{}", Exit::Failed, "wait"),
            (503, "<html>", Exit::Failed, "status 503"),
            (200, "<html>", Exit::Failed, "no list of rules"),
        ] {
            let Err(Failure::Other(exit, text)) = answered(status, body) else { panic!("{status}: accepted") };
            assert!(exit == expected && text.contains(words), "{status}: {text}");
        }
    }
}
