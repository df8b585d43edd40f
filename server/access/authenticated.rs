use std::sync::Arc;

use super::credential::Credential;
use super::right::Grant;
use super::snapshot::Access;
use crate::model::AccountName;

/// An authenticated call, and the snapshot by which its rights are decided.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Its credential.
    pub credential: Arc<Credential>,
    access: Arc<Access>,
}

impl Authenticated {
    pub(super) fn new(credential: Arc<Credential>, access: Arc<Access>) -> Self {
        Self { credential, access }
    }

    /// Returns what the caller may do on an account.
    pub fn grant(&self, account: &AccountName) -> Grant {
        self.access.grant(&self.credential, account)
    }
}
