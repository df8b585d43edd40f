use std::fmt;

use futures::StreamExt;
use serde_json::Value;

use super::redact::{redacted, shown};
use super::sanitize::sanitize;
use super::{Headers, Response, StreamRequest};
use crate::model::UnixMillis;

/// Maximum bytes of a body that is not a stream: problem documents are below 2 KB.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A request refused by X.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Classification.
    pub kind: ProblemKind,
    /// The body's title; empty if it has none.
    pub title: String,
    /// The body's explanation as one printable line of at most 300 characters; empty if it has none.
    pub detail: String,
    /// Response headers.
    pub headers: Headers,
}

/// Classification of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// Too many requests in X's window.
    RateLimited {
        /// When the window ends, by X's clock.
        reset: Option<UnixMillis>,
    },
    /// Another connection occupies the slot; after a crash that may be the gateway's own.
    TooManyConnections,
    /// The paid posts are used up, or the spending limit is reached. Retries fail until the limit is raised or the
    /// period ends.
    UsageCapped {
        /// `Daily` or `Monthly`, as X sends it.
        period: Option<String>,
    },
    /// The bearer token is not valid.
    Unauthorized,
    /// The bearer token is valid, but access is not granted.
    Forbidden,
    /// The stream has no rules yet.
    NoRules,
    /// The subscription is being changed; X asks to retry in a minute.
    Provisioning,
    /// X does not understand the request.
    InvalidRequest,
    /// Nothing exists at that URL.
    NotFound,
    /// X requires another encoding, or the requested time is not available.
    NotAcceptable,
    /// A redirect. It is never followed.
    Redirect,
    /// X failed.
    Server,
    /// Anything else.
    Other,
}

impl ProblemKind {
    /// Names of all kinds.
    pub const NAMES: [&'static str; 13] = [
        "rate_limited",
        "too_many_connections",
        "usage_capped",
        "unauthorized",
        "forbidden",
        "no_rules",
        "provisioning",
        "invalid_request",
        "not_found",
        "not_acceptable",
        "redirect",
        "server",
        "other",
    ];

    /// Returns a short name for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::TooManyConnections => "too_many_connections",
            Self::UsageCapped { .. } => "usage_capped",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NoRules => "no_rules",
            Self::Provisioning => "provisioning",
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::NotAcceptable => "not_acceptable",
            Self::Redirect => "redirect",
            Self::Server => "server",
            Self::Other => "other",
        }
    }

    /// Returns advice for the operator.
    fn advice(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "too many requests; waiting for the rate limit window to end",
            Self::TooManyConnections => {
                "another connection occupies the slot; stop it, or wait until X drops a dead one"
            }
            Self::UsageCapped { .. } => {
                "a usage cap, the credits or the spend cap are exhausted; raise them at X or wait for the next period"
            }
            Self::Unauthorized => "bearer token is not valid; replace it",
            Self::Forbidden => "account has no access to this stream; request access from X",
            Self::NoRules => "stream has no rules; add rules",
            Self::Provisioning => "X is changing the subscription; waiting",
            Self::InvalidRequest | Self::NotFound | Self::NotAcceptable => {
                "request rejected by X; check accounts[].url"
            }
            Self::Redirect => "redirects are not followed; check accounts[].url",
            Self::Server => "server error of X; waiting",
            Self::Other => "unexpected response",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}: {}", self.status, self.kind.advice())?;
        match (self.title.is_empty(), self.detail.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => write!(f, " ({})", self.title),
            (true, false) => write!(f, " ({})", self.detail),
            (false, false) => write!(f, " ({}: {})", self.title, self.detail),
        }
    }
}

/// Reads the body of a response that is not a stream, up to 64 KiB. An echoed bearer is removed.
pub async fn read_problem(response: Response, request: &StreamRequest) -> Problem {
    let Response { status, headers, mut body } = response;
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES_MAX
        && let Some(Ok(piece)) = body.next().await
    {
        let room = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    Problem::without(request.bearer.expose(), status, headers, &String::from_utf8_lossy(&bytes))
}

impl Problem {
    /// Parses a body of any form.
    pub fn read(status: u16, headers: Headers, body: &str) -> Self {
        Self::without("", status, headers, body)
    }

    /// Parses a body and removes a secret that it may echo. The secret is searched in the decoded texts, because JSON
    /// has several spellings of a text.
    fn without(secret: &str, status: u16, headers: Headers, body: &str) -> Self {
        let mut parsed = ProblemBody::read(body);
        parsed.period = parsed.period.map(|period| redacted(&period, secret));
        let kind = kind(status, &headers, &parsed);
        let (title, detail) = (shown(&parsed.title, secret), shown(&parsed.detail, secret));
        Self { status, kind, title, detail, headers }
    }
}

/// Contents of a body, independent of its form.
#[derive(Default)]
struct ProblemBody {
    title: String,
    detail: String,
    /// Last segment of the problem's `type`: the host before it has changed over the years.
    type_name: String,
    connection_issue: String,
    period: Option<String>,
    usage_cap: bool,
}

impl ProblemBody {
    fn read(body: &str) -> Self {
        match serde_json::from_str::<Value>(body) {
            Ok(Value::Object(object)) => Self::from_json(&Value::Object(object)),
            Ok(Value::String(detail)) => Self::from_text(&detail),
            _ => Self::from_text(body),
        }
    }

    fn from_json(root: &Value) -> Self {
        let object = match (&root["errors"][0], &root["error"]) {
            (first @ Value::Object(_), _) if root["title"].is_null() => first,
            (_, inner @ Value::Object(_)) => inner,
            _ => root,
        };
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let errors = root["errors"].as_array().into_iter().flatten();
        let mut problems = [root, &root["error"], &root["errors"]].into_iter().chain(errors);
        let detail = ["detail", "message", "reason", "error"].map(text).into_iter().find(|text| !text.is_empty());
        Self {
            title: text("title"),
            detail: detail.unwrap_or_default(),
            type_name: text("type").trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
            connection_issue: text("connection_issue"),
            period: object["period"].as_str().map(sanitize),
            usage_cap: problems.any(is_usage_cap),
        }
    }

    fn from_text(body: &str) -> Self {
        let body = body.trim();
        if !body.starts_with('<') {
            let usage_cap = is_usage_cap(&Value::from(body));
            return Self { detail: body.to_owned(), usage_cap, ..Self::default() };
        }
        let lower = body.to_ascii_lowercase();
        let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|from| {
            let to = from + lower[from..].find('<')?;
            body.get(from..to)
        });
        Self { detail: title.unwrap_or("an HTML page").to_owned(), ..Self::default() }
    }

    fn is_too_many_connections(&self) -> bool {
        let detail = self.detail.to_ascii_lowercase();
        self.connection_issue == "TooManyConnections"
            || detail.contains("maximum allowed connection")
            || detail.contains("too many connections")
    }
}

/// True if a problem, or a text, reports that posts are used up: the usage cap, the credits, or the spend cap. X writes
/// these names in words, in camel case and with hyphens, in its titles, types, reasons and details.
pub fn is_usage_cap(problem: &Value) -> bool {
    const CAPS: [&str; 6] = ["usagecap", "spendcap", "spendingcap", "spendlimit", "spendinglimit", "paymentrequired"];
    let caps = |text: &str| {
        let letters = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
        let squeezed: String = letters.collect();
        CAPS.iter().any(|cap| squeezed.contains(cap)) || (squeezed.contains("credit") && squeezed.contains("deplet"))
    };
    if let Some(text) = problem.as_str() {
        return caps(text);
    }
    let texts = ["title", "type", "reason", "detail", "message", "code"].map(|key| problem[key].as_str());
    let named = |text: &str| caps(text) || text.trim_end_matches('/').ends_with("/credits");
    problem["status"] == 402 || texts.into_iter().flatten().any(named)
}

fn kind(status: u16, headers: &Headers, body: &ProblemBody) -> ProblemKind {
    if status >= 400 {
        // 402 is "Payment Required", whatever the body.
        if status == 402 || body.usage_cap {
            return ProblemKind::UsageCapped { period: body.period.clone() };
        }
        if body.connection_issue == "ProvisioningSubscription" {
            return ProblemKind::Provisioning;
        }
        if body.is_too_many_connections() {
            return ProblemKind::TooManyConnections;
        }
    }
    match status {
        300..=399 => ProblemKind::Redirect,
        401 => ProblemKind::Unauthorized,
        403 => ProblemKind::Forbidden,
        404 | 410 => ProblemKind::NotFound,
        406 => ProblemKind::NotAcceptable,
        409 => ProblemKind::NoRules,
        // A connection problem that names no other issue is about the number of connections (F-HD).
        429 if body.type_name == "streaming-connection" => ProblemKind::TooManyConnections,
        // v1.1 used 420 for 429.
        420 | 429 => ProblemKind::RateLimited { reset: headers.rate_limit.reset },
        400 | 413 | 414 | 416 | 422 => ProblemKind::InvalidRequest,
        500..=599 => ProblemKind::Server,
        _ => ProblemKind::Other,
    }
}

#[cfg(test)]
mod tests;
