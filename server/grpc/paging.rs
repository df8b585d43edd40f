//! Pages of lists that are ordered by a key.
//!
//! A page ends at its number of entries or at [`BYTES_MAX`], so that every client accepts the message. The page token contains
//! the list and the key of the last entry; entries that are added or removed between two pages move no other entry.

use std::cmp::Reverse;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use tonic::Status;

use super::status;

/// Maximum entries of a page. A larger page size counts as this.
const SIZE_MAX: i32 = 1_000;
/// Entries of a page if the request has no page size.
const SIZE_DEFAULT: i32 = 100;
/// Bytes of entries at which a page ends. A message may have 2 MiB; but tonic encodes it on a thread that serves sessions, and
/// 1 MB of jobs is 100,000 short strings.
const BYTES_MAX: usize = 250_000;

/// Key by which a list is ordered, ascending, as it is written in a page token.
pub trait PageKey: Ord + Sized {
    /// Returns the text of the key.
    fn encode(&self) -> String;
    /// Parses the text of a key.
    fn decode(text: &str) -> Option<Self>;
}

/// Ids, the newest (largest) first.
impl PageKey for Reverse<u64> {
    fn encode(&self) -> String {
        self.0.to_string()
    }

    fn decode(text: &str) -> Option<Self> {
        text.parse().ok().map(Reverse)
    }
}

/// Names, in order of their bytes.
impl PageKey for String {
    fn encode(&self) -> String {
        self.clone()
    }

    fn decode(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// Page of a list that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct PageRequest<K> {
    list: String,
    size: usize,
    /// Key of the last entry of the previous page.
    after: Option<K>,
}

impl<K: PageKey> PageRequest<K> {
    /// Parses `page_size` and `page_token` (AIP-158): a size above the maximum counts as the maximum. Returns START_INVALID if
    /// the size is negative, or if the token does not belong to `list`.
    pub fn parse(list: impl Into<String>, size: i32, token: &str) -> Result<Self, Status> {
        let list = list.into();
        let size = match size {
            0 => SIZE_DEFAULT,
            1.. => size.min(SIZE_MAX),
            _ => return Err(status::start_invalid("page_size", "must not be negative")),
        };
        let invalid = || {
            let description = "is not a token of this list: use next_page_token unchanged, or omit it";
            status::start_invalid("page_token", description)
        };
        let after = match token {
            "" => None,
            token => Some(decode_token(&list, token).ok_or_else(invalid)?),
        };
        Ok(Self { list, size: size as usize, after })
    }

    /// Returns the converted entries of this page, and the token of the next page; the token is empty on the last page.
    /// `entries` must be in ascending order of `key`.
    pub fn take<T, M: Message>(
        &self,
        entries: impl Iterator<Item = T>,
        key: impl Fn(&T) -> K,
        convert: impl Fn(&T) -> M,
    ) -> (Vec<M>, String) {
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for entry in entries.filter(|entry| self.after.as_ref().is_none_or(|after| key(entry) > *after)) {
            if page.len() == self.size || bytes >= BYTES_MAX {
                return (page, last.map(|last| encode_token(&self.list, &last)).unwrap_or_default());
            }
            let message = convert(&entry);
            bytes += message.encoded_len();
            page.push(message);
            last = Some(key(&entry));
        }
        (page, String::new())
    }
}

fn encode_token(list: &str, last: &impl PageKey) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{}", last.encode()))
}

fn decode_token<K: PageKey>(list: &str, text: &str) -> Option<K> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let after = K::decode(plain.strip_prefix(list)?.strip_prefix(':')?)?;
    // Each token has one spelling.
    (encode_token(list, &after) == text).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{RecoveryJob, StreamInfo, TagInfo};

    /// Reads all pages of a list; each page but the last has an entry and a token.
    fn pages<K: PageKey, T: Clone, M: Message>(
        list: &str,
        size: i32,
        entries: &[T],
        key: impl Fn(&T) -> K,
        convert: impl Fn(&T) -> M,
    ) -> Vec<Vec<M>> {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let page = PageRequest::parse(list, size, &token).expect("a token of this list");
            let (taken, next) = page.take(entries.iter().cloned(), &key, &convert);
            assert!(!taken.is_empty());
            let bytes: usize = taken.iter().map(Message::encoded_len).sum();
            assert!(bytes < BYTES_MAX + 50_000, "{bytes}");
            pages.push(taken);
            token = next;
            if token.is_empty() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_contain_each_entry_once() {
        let newest_first: Vec<u64> = (0..2_500).rev().collect();
        for size in [0, 1, 7, 100, 125, 249, 250, 251, 1_000, 1_001, i32::MAX] {
            let got = pages("gaps", size, &newest_first, |id| Reverse(*id), |id| *id);
            let most = if size == 0 { 100 } else { size.min(1_000) as usize };
            assert!(got.iter().all(|page| page.len() <= most) && got[0].len() == most, "{size}");
            assert_eq!(got.concat(), newest_first, "{size}");
        }
        let mut names: Vec<String> = (0..250).map(|n| format!("{n}:é,")).collect();
        names.sort();
        let got = pages("tags:main", 7, &names, String::clone, String::clone);
        assert_eq!(got.concat(), names);
    }

    /// 1,000 jobs with 1,000 gaps each; 10,000 tags of 1,020 bytes; 1,000 accounts, each with the longest error.
    #[test]
    fn page_of_long_entries_ends_at_byte_limit() {
        let job = |n: &u64| RecoveryJob {
            job_id: n.to_string(),
            gap_ids: (0..1_000).map(|id| format!("g{id:020}")).collect(),
            last_error: "x".repeat(4_000),
            ..RecoveryJob::default()
        };
        let ids: Vec<u64> = (0..200).rev().collect();
        let got = pages("jobs", 1_000, &ids, |n| Reverse(*n), job);
        assert!(got.len() > 10 && got.concat().len() == 200, "{}", got.len());

        let tags: Vec<TagInfo> =
            (0..10_000).map(|n| TagInfo { tag: format!("{n:01020}"), ..TagInfo::default() }).collect();
        let got = pages("tags:a", i32::MAX, &tags, |own| own.tag.clone(), TagInfo::clone);
        assert!(got.len() > 10 && got.concat() == tags, "{}", got.len());

        let stream = |n| StreamInfo {
            account: format!("{n:063}"),
            upstream_last_error: "x".repeat(crate::grpc::convert::ERROR_BYTES_MAX),
            ..StreamInfo::default()
        };
        let streams: Vec<StreamInfo> = (0..1_000).map(stream).collect();
        let got = pages("streams", i32::MAX, &streams, |own| own.account.clone(), StreamInfo::clone);
        assert!(got.len() > 3 && got.concat() == streams, "{}", got.len());
    }

    #[test]
    fn invalid_page_request_names_its_field() {
        let check = |field: &str, size: i32, token: &str| {
            let refused = PageRequest::<Reverse<u64>>::parse("gaps", size, token).expect_err("refused");
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{size} {token}");
            let details = tonic_types::StatusExt::get_error_details(&refused);
            assert_eq!(details.bad_request().expect("a bad request").field_violations[0].field, field);
        };
        let of = |list, id| encode_token(list, &Reverse(id));
        for bad in ["x", "Z2Fwcw", "!", &of("jobs", 7), &URL_SAFE_NO_PAD.encode("gaps:+7"), &of("gaps", 7)[1..]] {
            check("page_token", 1, bad);
        }
        for negative in [-1, -100, i32::MIN] {
            check("page_size", negative, "");
        }
        assert!(PageRequest::<Reverse<u64>>::parse("gaps", 1_000, &of("gaps", 7)).is_ok());
        assert!(PageRequest::<String>::parse("tags:a", 0, &encode_token("tags:b", &"t".to_owned())).is_err());
    }
}
