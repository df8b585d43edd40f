//! Resume tokens: their content, and the keys that sign them.
//!
//! Owns the fields of a token, their encoding (`body`), and the signature: a truncated HMAC, so that a client can neither
//! forge nor change a position. Does not own what a position means against the log (`start`). Tokens are signed, not
//! encrypted; a key that was rotated out of the key ring still verifies.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::resume_token::ResumeToken;
use crate::{secret, state_file};

mod body;
mod resume_token;

/// An invalid token. One text for every cause, so that a forger learns nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid resume token: malformed, damaged, or signed with an unknown key")]
pub struct InvalidToken;

/// Keys that sign and verify tokens: the first signs, all verify. They can be replaced while sessions run.
pub struct Keyring(ArcSwap<Vec<SigningKey>>);

struct SigningKey {
    id: [u8; 4],
    mac: Hmac<Sha256>,
}

/// Failure to load a token key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or created.
    #[error("failed to load token key file {path}")]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The file is too short for a key.
    #[error("token key file {0} has fewer than 32 bytes; write at least 32 random bytes, or their text form, to it")]
    TooShort(PathBuf),
}

impl Keyring {
    /// Minimum bytes of a key: as long as the hash (RFC 2104).
    const KEY_BYTES_MIN: usize = 32;

    /// Loads the keys from these files: the first signs, all verify.
    pub fn load(files: &[PathBuf]) -> Result<Self, KeyError> {
        let read = |path: &PathBuf| {
            let bytes = secret::read_file(path).map_err(|source| KeyError::Io { path: path.clone(), source })?;
            let trimmed = bytes.trim_ascii();
            if trimmed.len() < Self::KEY_BYTES_MIN {
                return Err(KeyError::TooShort(path.clone()));
            }
            Ok(SigningKey::new(trimmed))
        };
        files.iter().map(read).collect::<Result<_, _>>().map(Self::new)
    }

    /// Loads the key from this directory, or creates it at first use. It is stored next to the logs, never inside one:
    /// deleting a journal must not invalidate every token.
    pub fn load_or_make(directory: &Path, random: [u8; 32]) -> Result<Self, KeyError> {
        let path = directory.join("token.key");
        if !path.exists() {
            make_key_file(&path, random).map_err(|source| KeyError::Io { path: path.clone(), source })?;
        }
        Self::load(&[path])
    }

    /// Creates a keyring of one key.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::new(vec![SigningKey::new(bytes)])
    }

    fn new(keys: Vec<SigningKey>) -> Self {
        Self(ArcSwap::from_pointee(keys))
    }

    /// Continues with the keys of another keyring. Tokens of a key that it does not have are not accepted any more.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// Signs a token: URL-safe text of at most 200 characters, and of at most 1,024 with private gaps.
    pub fn sign(&self, token: &ResumeToken) -> String {
        let keys = self.0.load();
        let key = keys.first().expect("a keyring has at least the key that signs");
        let mut bytes = vec![ResumeToken::VERSION];
        bytes.extend_from_slice(&key.id);
        body::encode(token, &mut bytes);
        let mac = key.mac.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..ResumeToken::MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Verifies a token and reads it.
    pub fn verify(&self, text: &str) -> Result<ResumeToken, InvalidToken> {
        if text.len() > ResumeToken::CHARS_MAX {
            return Err(InvalidToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| InvalidToken)?;
        let (signed, mac) =
            bytes.split_at_checked(bytes.len().saturating_sub(ResumeToken::MAC_BYTES)).ok_or(InvalidToken)?;
        let (head, body) = signed.split_at_checked(5).ok_or(InvalidToken)?;
        if head[0] != ResumeToken::VERSION {
            return Err(InvalidToken);
        }
        let keys = self.0.load();
        let key = keys.iter().find(|key| key.id == head[1..]).ok_or(InvalidToken)?;
        key.mac.clone().chain_update(signed).verify_truncated_left(mac).map_err(|_| InvalidToken)?;
        body::decode(body).ok_or(InvalidToken)
    }
}

impl SigningKey {
    fn new(bytes: &[u8]) -> Self {
        let digest = Sha256::digest([b"token key id", bytes].concat());
        Self {
            id: digest[..4].try_into().expect("a digest has 32 bytes"),
            mac: Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"),
        }
    }
}

fn make_key_file(path: &Path, random: [u8; 32]) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    let directory = path.parent().expect("the key file is in a directory");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    state_file::write_atomic(path, format!("{text}\n").as_bytes())
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring of {} keys", self.0.load().len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::side_log::PrivateGaps;
    use crate::hub::side_log::{PrivateGap, SubscriptionCoverage};
    use crate::model::AccountName;
    use crate::model::Position;
    use crate::model::UnixMillis;
    use crate::model::{Epoch, GapCause, Term, TimeRange};

    fn token(name: &str, sequence: u64) -> ResumeToken {
        ResumeToken {
            account: AccountName::new(name).expect("a name"),
            position: Position { epoch: Epoch(u128::MAX - 7), term: Term(42), sequence },
            low_watermark: UnixMillis(1_700_000_000_000),
            received_up_to: UnixMillis(1_700_000_030_000),
            subscription_start: UnixMillis(-1),
            subscription_from: None,
            filter: 99,
            duplicates_until: None,
            private: None,
        }
    }

    /// The last time that the API can represent.
    const YEAR_9999: UnixMillis = UnixMillis(253_402_300_799_999);
    const DAY_MS: i64 = 86_400_000;

    fn longest() -> ResumeToken {
        ResumeToken {
            low_watermark: YEAR_9999,
            subscription_start: YEAR_9999,
            subscription_from: Some(u64::MAX - (1 << 34)),
            received_up_to: UnixMillis(YEAR_9999.0 + 2 * DAY_MS),
            duplicates_until: Some(UnixMillis(YEAR_9999.0 + 2 * DAY_MS)),
            ..token(&"a".repeat(63), u64::MAX)
        }
    }

    #[test]
    fn longest_token_fits_in_header() {
        let keys = Keyring::from_bytes(&[7; 32]);
        let check = |token: &ResumeToken, most: usize| {
            let text = keys.sign(token);
            assert!(text.len() <= most, "{} characters", text.len());
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(keys.verify(&text).as_ref(), Ok(token));
        };
        check(&longest(), 200);
        // 500 years, and logs of 100,000 records a second for as long.
        let (late, far) = (UnixMillis(1 << 44), 1 << 51);
        let private_gap = PrivateGap::new(TimeRange::new(late, UnixMillis(0)), GapCause::JournalCorrupt, late, far);
        let private_gap = PrivateGap { since: far, offset: far, passed_until: far, ..private_gap };
        let passed = vec![(far, 2 * far); SubscriptionCoverage::RANGES_MAX];
        let coverage = SubscriptionCoverage { main_log_from: far, passed, is_partial: true };
        let private = PrivateGaps { tag: u32::MAX, coverage, private_gaps: vec![private_gap; PrivateGaps::MAX] };
        check(&ResumeToken { private: Some(private), ..longest() }, ResumeToken::CHARS_MAX);
    }

    #[test]
    fn all_keys_verify_and_first_signs() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str, byte: u8| {
            let path = dir.path().join(name);
            std::fs::write(&path, [byte; 32]).expect("written");
            path
        };
        let (old, new) = (path("old", b'o'), path("new", b'n'));
        let before = Keyring::load(std::slice::from_ref(&old)).expect("keys").sign(&token("main", 5));
        let rotated = Keyring::load(&[new.clone(), old]).expect("keys");
        assert_eq!(rotated.verify(&before), Ok(token("main", 5)));
        let after = rotated.sign(&token("main", 6));
        assert_eq!(Keyring::load(&[new]).expect("keys").verify(&after), Ok(token("main", 6)));
        assert_eq!(Keyring::from_bytes(&[1; 32]).verify(&after), Err(InvalidToken));
        // As sessions run: what they had is accepted until its key is gone.
        let running = Keyring::load(&[path("old", b'o')]).expect("keys");
        running.replace(&rotated);
        assert_eq!(running.verify(&before), Ok(token("main", 5)));
        assert_eq!(running.sign(&token("main", 6)), after);
        running.replace(&Keyring::load(&[path("new", b'n')]).expect("keys"));
        assert_eq!((running.verify(&before), running.verify(&after)), (Err(InvalidToken), Ok(token("main", 6))));
    }

    #[test]
    fn key_is_made_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = dir.path().join("keys");
        let text = Keyring::load_or_make(&keys, [3; 32]).expect("made").sign(&token("main", 1));
        assert!(Keyring::load_or_make(&keys, [4; 32]).expect("found").verify(&text).is_ok());
    }

    fn any_private_gaps() -> impl Strategy<Value = PrivateGaps> {
        // Times of the next 500 years, and logs of 100,000 records a second for as long.
        let (time, sequence) = (|| (0_i64..1 << 44).prop_map(UnixMillis), || 0_u64..1 << 51);
        let causes = [GapCause::Trimmed, GapCause::LogLost, GapCause::JournalCorrupt];
        let cause = prop::sample::select(causes.to_vec());
        let sequences = (sequence(), sequence(), sequence(), sequence());
        let private_gap = ((time(), time(), time()), cause, sequences, any::<(bool, bool)>()).prop_map(
            |((from, to, repeats_until), cause, (since, offset, passed_until, born), flags)| PrivateGap {
                since,
                offset,
                passed_until,
                is_restarted: flags.0,
                is_closed: flags.1,
                ..PrivateGap::new(TimeRange::new(from, to), cause, repeats_until, born)
            },
        );
        let private_gaps = prop::collection::vec(private_gap, 0..=PrivateGaps::MAX);
        let range = (sequence(), sequence()).prop_map(|(from, length)| (from, from + length));
        let ranges = prop::collection::vec(range, 0..=SubscriptionCoverage::RANGES_MAX);
        let coverage = (sequence(), ranges, any::<bool>());
        (any::<u32>(), coverage, private_gaps).prop_map(|(tag, (main_from, passed, is_partial), private_gaps)| {
            PrivateGaps {
                tag,
                coverage: SubscriptionCoverage { main_log_from: main_from, passed, is_partial },
                private_gaps,
            }
        })
    }

    /// Tokens issued by the release before subscription positions.
    #[test]
    fn token_without_subscription_position_is_accepted() {
        let old = "AlV9JnwEbWFpbvj___________________8qAAAAAAAAAAcAAAAAAAAAgKCr_vliAWMAAAAAAAAA4NQDAcCpB2yjmI1nVpmyoEjI4XTgSeg";
        let keys = Keyring::from_bytes(&[9; 32]);
        let expected = ResumeToken { duplicates_until: Some(UnixMillis(1_700_000_060_000)), ..token("main", 7) };
        assert_eq!(keys.verify(old), Ok(expected.clone()));
        assert_eq!(keys.sign(&expected), old, "subscriptions that began by time are encoded as before");
    }

    proptest! {
        #[test]
        fn signed_token_round_trips(
            times in (0_i64..1 << 44, 0_i64..1 << 44, 0_i64..1 << 44), repeats in prop::option::of(0_i64..1 << 44), private in prop::option::of(any_private_gaps()), back in prop::option::of(0..8_u64),
        ) {
            let keys = Keyring::from_bytes(&[9; 32]);
            let original = ResumeToken {
                low_watermark: UnixMillis(times.0),
                received_up_to: UnixMillis(times.1),
                subscription_start: UnixMillis(times.2),
                subscription_from: back.map(|back| 8 - back),
                duplicates_until: repeats.map(UnixMillis),
                private,
                ..token("main", 7)
            };
            prop_assert_eq!(keys.verify(&keys.sign(&original)), Ok(original));
        }

        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(sequence: u64, at: prop::sample::Index, flip in 1_u8..128) {
            let keys = Keyring::from_bytes(&[9; 32]);
            let text = keys.sign(&token("main", sequence));
            prop_assert_eq!(keys.verify(&text), Ok(token("main", sequence)));
            let mut bytes = URL_SAFE_NO_PAD.decode(&text).expect("our own text");
            let at_byte = at.index(bytes.len());
            bytes[at_byte] ^= flip;
            prop_assert_eq!(keys.verify(&URL_SAFE_NO_PAD.encode(&bytes)), Err(InvalidToken));
            prop_assert_eq!(keys.verify(&text[..at.index(text.len())]), Err(InvalidToken));
        }

        #[test]
        fn random_text_is_malformed(text in ".{0,300}") {
            prop_assert_eq!(Keyring::from_bytes(&[9; 32]).verify(&text), Err(InvalidToken));
        }
    }
}
