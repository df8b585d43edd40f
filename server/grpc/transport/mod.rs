//! The HTTP/2 transport: listening sockets, connections, and the bodies of responses.
//!
//! Owns sockets and their options, the limits of connections, of streams and of responses that are not read, and how the
//! frames of a session leave through one body. Does not own what is in a message (`encode`) or which service answers
//! (`stream_service`, `recovery_service`).

pub(super) mod body;
pub(super) mod connection;
pub(super) mod connection_slots;
pub(super) mod lingering_close;
pub(super) mod listener;
pub(super) mod request_handler;
pub(super) mod response_budget;
pub(super) mod socket;
pub(super) mod stream_rate;
