use futures::future::BoxFuture;

use super::{RuleAnswer, RuleFailure, RuleRequest};

/// Makes requests about rules. Production uses HTTP to X; tests provide their own.
pub trait RuleTransport: Send + Sync {
    /// Makes one request and reads its answer. Any status is an `Ok`. Dropping the future closes the socket.
    fn request<'a>(&'a self, request: &'a RuleRequest) -> BoxFuture<'a, Result<RuleAnswer, RuleFailure>>;
}
