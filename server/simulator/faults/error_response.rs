use serde_json::json;

/// The answer to a stream request that is not to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers in addition to those of every response.
    pub headers: Vec<(String, String)>,
    /// The body as it is.
    pub body: String,
}

impl ErrorResponse {
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

    /// Names of the known errors.
    pub const NAMES: [&str; 12] = [
        "unauthorized",
        "forbidden",
        "not_entitled",
        "no_rules",
        "too_many_connections",
        "rate_limited",
        "usage_capped",
        "provisioning",
        "unavailable",
        "backfill_not_enabled",
        "html",
        "redirect",
    ];

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
            "redirect" => Self::redirect("/elsewhere"),
            "not_entitled" => Self::not_entitled(),
            "backfill_not_enabled" => Self::backfill_not_enabled(),
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

    /// 307 to this place. A gateway that followed it would take its bearer there.
    pub fn redirect(location: &str) -> Self {
        Self { status: 307, headers: vec![("location".into(), location.into())], body: String::new() }
    }

    /// 403 for a product that the contract does not have, as recovery.
    pub fn not_entitled() -> Self {
        let detail = "Your account is not entitled to this product.";
        let body = json!({
            "title": "Forbidden", "detail": detail, "type": "https://api.x.com/2/problems/client-forbidden", "status": 403
        });
        Self::json(403, &body.to_string())
    }

    /// 400 for an account without backfill.
    pub fn backfill_not_enabled() -> Self {
        Self::invalid_request("Backfill is not enabled for this account.")
    }

    /// 400 with what is wrong.
    pub(in crate::simulator) fn invalid_request(detail: &str) -> Self {
        let body = json!({
            "errors": [{ "message": detail }],
            "title": "Invalid Request",
            "detail": detail,
            "type": "https://api.x.com/2/problems/invalid-request",
        });
        Self::json(400, &body.to_string())
    }

    fn connection(status: u16, detail: &str, issue: &str) -> Self {
        let body = json!({
            "title": "ConnectionException",
            "detail": detail,
            "connection_issue": issue,
            "type": "https://api.x.com/2/problems/streaming-connection",
        });
        Self::json(status, &body.to_string())
    }
}
