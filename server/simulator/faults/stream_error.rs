use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An error that X sends within a stream, after the 200, before it ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamError {
    /// X lets go for reasons of its own (seen in the wild: twarc#462).
    OperationalDisconnect,
    /// The same further up (X, consuming streaming data).
    UpstreamOperationalDisconnect,
    /// The same without the `errors` around it (twitter-api-typescript-sdk#69).
    BareOperationalDisconnect,
    /// X forces it.
    ForceDisconnect,
    /// Something broke further up.
    UpstreamUncleanDisconnect,
    /// The client reads too slowly.
    SlowReader,
    /// X's own error.
    InternalError,
    /// The app was suspended or lost its access.
    ClientApplicationStateDegraded,
    /// The rules are wrong.
    InvalidRules,
    /// A connection above the limit, reported after the 200 (demian85/gnip#32).
    TooManyConnections,
    /// `disconnect` with a code, as version 1.1 of the API had it.
    Disconnect,
}

impl StreamError {
    /// All that are known.
    pub const ALL: [Self; 11] = [
        Self::OperationalDisconnect,
        Self::UpstreamOperationalDisconnect,
        Self::BareOperationalDisconnect,
        Self::ForceDisconnect,
        Self::UpstreamUncleanDisconnect,
        Self::SlowReader,
        Self::InternalError,
        Self::ClientApplicationStateDegraded,
        Self::InvalidRules,
        Self::TooManyConnections,
        Self::Disconnect,
    ];

    /// The object as it is on the wire, without a delimiter.
    pub fn json(self) -> String {
        let operational = |kind: &str, detail: &str| {
            json!({
                "title": "operational-disconnect",
                "disconnect_type": kind,
                "detail": detail,
                "type": "https://api.x.com/2/problems/operational-disconnect",
            })
        };
        let plain = "This stream has been disconnected for operational reasons.";
        let wrapped = |error: Value| json!({ "errors": [error] });
        let message = match self {
            Self::OperationalDisconnect => wrapped(operational("OperationalDisconnect", plain)),
            Self::UpstreamOperationalDisconnect => wrapped(operational(
                "UpstreamOperationalDisconnect",
                "This stream has been disconnected upstream for operational reasons.",
            )),
            Self::BareOperationalDisconnect => operational("OperationalDisconnect", plain),
            Self::ForceDisconnect => wrapped(operational("ForceDisconnect", plain)),
            Self::UpstreamUncleanDisconnect => wrapped(operational("UpstreamUncleanDisconnect", plain)),
            Self::SlowReader => wrapped(operational(
                "SlowReader",
                "This stream has been disconnected because your client was unable to keep up with us.",
            )),
            Self::InternalError => wrapped(operational("InternalError", plain)),
            Self::ClientApplicationStateDegraded => wrapped(operational("ClientApplicationStateDegraded", plain)),
            Self::InvalidRules => wrapped(operational("InvalidRules", plain)),
            Self::TooManyConnections => wrapped(json!({
                "title": "ConnectionException",
                "detail": "This stream is currently at the maximum allowed connection limit.",
                "connection_issue": "TooManyConnections",
                "type": "https://api.x.com/2/problems/streaming-connection",
            })),
            Self::Disconnect => {
                json!({"disconnect": {"code": 1, "stream_name": "powerstream", "reason": "Shutdown"}})
            }
        };
        message.to_string()
    }
}
