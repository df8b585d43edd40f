//! Pages of a list that is ordered by id, the newest first, each within the bytes that every client takes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use tonic::Status;

use super::status;

/// Most entries of a page.
const SIZE_MAX: u32 = 1_000;
/// Entries of a page of which no size is said.
const SIZE_DEFAULT: u32 = 100;
/// Bytes of entries at which a page ends. A message may have 2 MiB; but tonic encodes it on a thread that serves sessions, and
/// 1 MB of jobs is 100,000 short strings.
const BYTES_MAX: usize = 250_000;

/// Which page of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct PageRequest {
    list: &'static str,
    size: usize,
    /// Only what is older than this id.
    before: Option<u64>,
}

impl PageRequest {
    /// Reads what a request says. A token is of one list: another's is refused, as is anything else.
    pub fn read(list: &'static str, size: u32, token: &str) -> Result<Self, Status> {
        let size = match size {
            0 => SIZE_DEFAULT,
            size @ 1..=SIZE_MAX => size,
            _ => return Err(status::start_invalid("page_size", "is more than 1000")),
        };
        let before = match token {
            "" => None,
            token => {
                let invalid = "is none of this list: take next_page_token as it is, or leave it out";
                Some(read_token(list, token).ok_or_else(|| status::start_invalid("page_token", invalid))?)
            }
        };
        Ok(Self { list, size: size as usize, before })
    }

    /// The entries of this page as they are sent, and the token of the next; empty if there is none.
    pub fn take<T, M: Message>(
        &self,
        newest_first: impl Iterator<Item = T>,
        id: impl Fn(&T) -> u64,
        convert: impl Fn(&T) -> M,
    ) -> (Vec<M>, String) {
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for entry in newest_first.filter(|entry| self.before.is_none_or(|before| id(entry) < before)) {
            if page.len() == self.size || bytes >= BYTES_MAX {
                return (page, last.map(|last| token(self.list, last)).unwrap_or_default());
            }
            let message = convert(&entry);
            bytes += message.encoded_len();
            page.push(message);
            last = Some(id(&entry));
        }
        (page, String::new())
    }
}

fn token(list: &str, before: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{before}"))
}

fn read_token(list: &str, text: &str) -> Option<u64> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let before = plain.strip_prefix(list)?.strip_prefix(':')?.parse().ok()?;
    // One spelling for each.
    (token(list, before) == text).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_each_entry_once() {
        let newest_first: Vec<u64> = (0..250).rev().collect();
        for size in [1, 7, 100, 125, 249, 250, 251, 1_000] {
            let (mut got, mut token) = (Vec::new(), String::new());
            loop {
                let page = PageRequest::read("gaps", size, &token).expect("its own token");
                let (entries, next) = page.take(newest_first.iter().copied(), |entry| *entry, |entry| *entry);
                assert!(entries.len() <= size as usize && !entries.is_empty());
                got.extend(entries);
                token = next;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(got, newest_first, "{size}");
        }
        let (entries, next) =
            PageRequest::read("gaps", 0, "").expect("the first").take(newest_first.into_iter(), |id| *id, |id| *id);
        assert_eq!((entries.len(), next.is_empty()), (100, false));
    }

    /// 1,000 jobs with 1,000 gaps each.
    #[test]
    fn page_of_long_entries_ends_at_its_bytes() {
        let entry = |n: &u64| crate::proto::RecoveryJob {
            job_id: n.to_string(),
            gap_ids: (0..1_000).map(|id| format!("g{id:020}")).collect(),
            last_error: "x".repeat(4_000),
            ..Default::default()
        };
        let (mut got, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = PageRequest::read("jobs", 1_000, &token).expect("its own token");
            let (entries, next) = page.take((0..1_000_u64).rev(), |n| *n, entry);
            let bytes: usize = entries.iter().map(Message::encoded_len).sum();
            assert!((1..BYTES_MAX + 50_000).contains(&bytes), "{bytes}");
            got.extend(entries.into_iter().map(|job| job.job_id));
            (token, pages) = (next, pages + 1);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(got, (0..1_000).rev().map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(pages > 20, "{pages}");
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for bad in ["x", "Z2Fwcw", "!", &token("jobs", 7), &URL_SAFE_NO_PAD.encode("gaps:+7"), &token("gaps", 7)[1..]] {
            let refused = PageRequest::read("gaps", 1, bad).expect_err("refused");
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{bad}");
        }
        assert!(PageRequest::read("gaps", 1_001, "").is_err());
        assert!(PageRequest::read("gaps", 1_000, &token("gaps", 7)).is_ok());
    }
}
