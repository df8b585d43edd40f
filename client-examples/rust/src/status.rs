use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::retry_policy::Ending;

const DOMAIN: &str = "powerstream.gateway";

/// Reads the status that a call ended with, and its details.
pub fn ending_of(status: &Status) -> Ending {
    let details = status.get_error_details();
    let reason = details.error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason.clone());
    let retry_delay = details.retry_info().and_then(|info| info.retry_delay);
    Ending::Status { code: status.code(), text: text_of(status), reason, retry_delay }
}

/// No status came: the connection was not even made.
pub fn ending_of_connect(error: &dyn Error) -> Ending {
    Ending::Status { code: Code::Unavailable, text: innermost(error), reason: None, retry_delay: None }
}

/// A duration of the gateway; none if it is not over 0.
pub fn positive(duration: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero())
}

fn text_of(status: &Status) -> String {
    match status.source() {
        Some(source) => innermost(source),
        None if status.message().is_empty() => status.code().description().into(),
        None => status.message().into(),
    }
}

/// The innermost cause says more than "transport error".
fn innermost(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
