//! When each token of the token files was last used.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::credential::{Credential, CredentialKind};
use super::snapshot::Access;
use crate::model::UnixMillis;

/// When tokens were last used. It outlives changes of the configuration.
#[derive(Debug, Default)]
pub(super) struct TokenUse(Mutex<HashMap<Arc<str>, UnixMillis>>);

impl TokenUse {
    /// Records that a call was authenticated.
    pub(super) fn note(&self, credential: &Credential, now: UnixMillis) {
        if credential.kind == CredentialKind::Token {
            self.0.lock().insert(credential.id.clone(), now);
        }
    }

    /// Forgets tokens that are not in the snapshot.
    pub(super) fn retain(&self, access: &Access) {
        self.0.lock().retain(|id, _| access.tokens().any(|(known, _)| known == id));
    }

    /// Returns when a token was last used.
    pub(super) fn last(&self, id: &str) -> Option<UnixMillis> {
        self.0.lock().get(id).copied()
    }
}
