//! JSON Web Tokens: tokens that an issuer signs, verified with the issuer's public keys.
//!
//! A token names its issuer in the claim `iss`, and only the keys of that issuer are tried (`issuer`). Verification is
//! pure (`verify`). Keys come from a file, as a part of the access snapshot, or from a URL: a cache for each issuer
//! (`cache`), which one task fills (`refresh`, `fetch`). Calls never wait for a fetch, except a call whose token names a
//! key that the cache does not have.
//!
//! Owns: verification, key sets, their refresh. Does not own: which role has which rights (`access::snapshot`).
//!
//! Invariants and their tests:
//! - A token is verified with a key of its own issuer, for the one algorithm of that key and token
//!   (`verify::tests`, `issuer::tests`).
//! - Time is passed in: neither X nor the library has an influence on it (`verify::tests::times_follow_table`).
//! - Unknown keys cause at most one fetch per issuer and `auth.jwks.unknown_key_interval`
//!   (`refresh::tests::unknown_keys_cause_one_fetch`).
//! - A failed fetch never replaces a key set, and a key that is missing in a new one revokes its sessions
//!   (`refresh::tests`).

mod cache;
mod claims;
mod config;
mod fetch;
mod issuer;
mod key_set;
mod refresh;
#[cfg(test)]
mod testing;
mod verify;

pub use cache::KeySetState;
pub use claims::Claims;
pub use config::{JwksConfig, JwtAlgorithm, JwtConfig, JwtKeysConfig, JwtRoleConfig};
pub use issuer::Issuers;
pub use key_set::JwtKeySet;
pub use refresh::KeyRefresher;
pub use verify::{JwtError, VerifiedToken};

pub(super) use cache::KeyRequest;
