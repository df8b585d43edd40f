use serde::{Deserialize, Serialize};

/// Which streams, or requests for one, a fault is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Live connections and recovery jobs.
    All,
    /// Live connections.
    Live,
    /// Recovery jobs.
    Recovery,
    /// Streams of this datacenter: those asked for below `/dc/NAME`, or with `localDcOnly`.
    Datacenter(String),
    /// The open live connection with this number; the oldest is 0. No request has one.
    Connection(usize),
}

impl Scope {
    /// True if it holds all streams of this kind, those to come included.
    pub(in crate::simulator) fn has_all(&self, recovery: bool) -> bool {
        match self {
            Self::All => true,
            Self::Live => !recovery,
            Self::Recovery => recovery,
            Self::Datacenter(_) | Self::Connection(_) => false,
        }
    }

    /// True if it holds a request of this kind that came by this datacenter.
    pub(super) fn has_request(&self, recovery: bool, datacenter: Option<&str>) -> bool {
        match self {
            Self::Datacenter(name) => datacenter == Some(name),
            scope => scope.has_all(recovery),
        }
    }
}
