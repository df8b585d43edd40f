use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How to cut connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutKind {
    /// The zero-length chunk, then FIN: X's forced disconnect.
    CleanEnd,
    /// RST, whatever was under way.
    Reset,
    /// Half a message, then FIN without the zero-length chunk.
    MidMessage,
}

/// The answer to a stream request that is not to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Headers beside those of every answer.
    pub headers: Vec<(String, String)>,
    /// The body as it is.
    pub body: String,
}

/// What goes wrong on purpose.
pub(super) struct Faults {
    stalled: watch::Sender<bool>,
    refusals: Mutex<VecDeque<(u32, Refusal)>>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self { stalled: watch::Sender::new(false), refusals: Mutex::default() }
    }

    /// True if it was not so before.
    pub(super) fn stall(&self, on: bool) -> bool {
        self.stalled.send_if_modified(|now| std::mem::replace(now, on) != on) && on
    }

    pub(super) fn stalled(&self) -> watch::Receiver<bool> {
        self.stalled.subscribe()
    }

    /// `u32::MAX` times is until it is cleared.
    pub(super) fn refuse(&self, times: u32, refusal: Refusal) {
        if times > 0 {
            self.refusals.lock().push_back((times, refusal));
        }
    }

    pub(super) fn clear_refusals(&self) {
        self.refusals.lock().clear();
    }

    /// The refusal that the next request gets.
    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        let mut refusals = self.refusals.lock();
        let (times, refusal) = refusals.front_mut()?;
        let refusal = refusal.clone();
        if *times != u32::MAX {
            *times -= 1;
        }
        if *times == 0 {
            refusals.pop_front();
        }
        Some(refusal)
    }
}

impl Refusal {
    /// A JSON body with this status.
    pub fn json(status: u16, body: &str) -> Self {
        let headers = vec![("content-type".into(), "application/json; charset=utf-8".into())];
        Self { status, headers, body: body.into() }
    }

    /// With one more header.
    pub fn with_header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    /// Refusals that X is known to give, by name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "unauthorized" => Self::unauthorized(),
            "forbidden" => Self::forbidden(),
            "no_rules" => Self::no_rules(),
            "too_many_connections" => Self::too_many_connections(),
            "rate_limited" => Self::json(429, r#"{"errors":[{"code":88,"message":"Rate limit exceeded"}]}"#)
                .with_header("x-rate-limit-limit", 50)
                .with_header("x-rate-limit-remaining", 0),
            "usage_capped" => Self::usage_capped(),
            "provisioning" => Self::provisioning(),
            "unavailable" => Self::json(
                503,
                r#"{"title":"Service Unavailable","detail":"Service Unavailable","type":"about:blank","status":503}"#,
            ),
            "html" => Self::html(),
            _ => return None,
        })
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::json(401, r#"{"title":"Unauthorized","detail":"Unauthorized","type":"about:blank","status":401}"#)
    }

    /// 403 for a client that is not enrolled.
    pub fn forbidden() -> Self {
        Self::json(
            403,
            r#"{"client_id":"1","detail":"The App must be attached to a Project with the needed access.","registration_url":"https:\/\/developer.x.com\/","title":"Client Forbidden","required_enrollment":"Appropriate Level of API Access","reason":"client-not-enrolled","type":"https:\/\/api.x.com\/2\/problems\/client-forbidden"}"#,
        )
    }

    /// 409 for a stream without rules.
    pub fn no_rules() -> Self {
        Self::connection(409, "You must define rules before connecting to the stream.", "RuleConfigurationIssue")
    }

    /// 429 for a connection too many; the rate limit is not used up.
    pub fn too_many_connections() -> Self {
        let detail = "This stream is currently at the maximum allowed connection limit.";
        Self::connection(429, detail, "TooManyConnections")
            .with_header("x-rate-limit-limit", 50)
            .with_header("x-rate-limit-remaining", 48)
    }

    /// 429 until the period ends.
    pub fn usage_capped() -> Self {
        Self::json(
            429,
            r#"{"account_id":"1","product_name":"powerstream","title":"UsageCapExceeded","period":"Monthly","scope":"Product","detail":"Usage cap exceeded: Monthly product cap","type":"https:\/\/api.x.com\/2\/problems\/usage-capped"}"#,
        )
        .with_header("x-rate-limit-limit", 40_000)
        .with_header("x-rate-limit-remaining", 39_999)
    }

    /// 503 while a subscription changes.
    pub fn provisioning() -> Self {
        let detail = "Your subscription change is currently being provisioned, please try again in a minute.";
        Self::connection(503, detail, "ProvisioningSubscription")
    }

    /// 403 as a web page.
    pub fn html() -> Self {
        let body = "<html>\n<head>\n<title>Error 403 \n</title>\n</head>\n<body>\n<h2>HTTP ERROR: 403</h2>\n</body>\n</html>\n";
        Self { status: 403, headers: vec![("content-type".into(), "text/html".into())], body: body.into() }
    }

    /// 400 with what is wrong.
    pub(super) fn invalid_request(detail: &str) -> Self {
        let body = serde_json::json!({
            "errors": [{ "message": detail }],
            "title": "Invalid Request",
            "detail": detail,
            "type": "https://api.x.com/2/problems/invalid-request",
        });
        Self::json(400, &body.to_string())
    }

    fn connection(status: u16, detail: &str, issue: &str) -> Self {
        let body = serde_json::json!({
            "title": "ConnectionException",
            "detail": detail,
            "connection_issue": issue,
            "type": "https://api.x.com/2/problems/streaming-connection",
        });
        Self::json(status, &body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_given_as_often_as_asked() {
        let faults = Faults::new();
        faults.refuse(2, Refusal::unauthorized());
        faults.refuse(u32::MAX, Refusal::html());
        let statuses: Vec<_> = (0..4).filter_map(|_| faults.take_refusal()).map(|refusal| refusal.status).collect();
        assert_eq!(statuses, [401, 401, 403, 403]);
        faults.clear_refusals();
        assert_eq!(faults.take_refusal(), None);
    }
}
