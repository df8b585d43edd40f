//! Builds a status with its reason, details and trailers.

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of all reasons.
pub(super) const DOMAIN: &str = "powerstream.gateway";

/// Trailer with the reason.
pub const REASON_TRAILER: &str = "x-gateway-reason";

/// Trailer with the last valid token.
pub const TOKEN_TRAILER: &str = "x-gateway-resume-token";

pub(super) struct StatusBuilder {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    pub(super) details: ErrorDetails,
    token: Option<String>,
}

impl StatusBuilder {
    pub(super) fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            details: ErrorDetails::new(),
            token: None,
        }
    }

    pub(super) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.into(), value.to_string());
        self
    }

    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self
    }

    pub(super) fn field(mut self, field: &str, description: &str) -> Self {
        self.details.add_bad_request_violation(field, description);
        self
    }

    pub(super) fn quota(mut self, subject: &str, description: &str) -> Self {
        self.details.add_quota_failure_violation(subject, description);
        self
    }

    pub(super) fn token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    pub(super) fn status(mut self) -> Status {
        let mut trailers = MetadataMap::new();
        trailers.insert(REASON_TRAILER, AsciiMetadataValue::from_static(self.reason));
        if let Some(token) = self.token {
            if let Ok(value) = AsciiMetadataValue::try_from(token.as_str()) {
                trailers.insert(TOKEN_TRAILER, value);
            }
            self.metadata.insert("resume_token".into(), token);
        }
        self.details.set_error_info(self.reason, DOMAIN, self.metadata);
        Status::with_error_details_and_metadata(self.code, self.message, self.details, trailers)
    }
}
