//! Pages of the tags of streams: by account and tag, as many as fit in a message that every client takes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use tonic::Status;

use super::status;
use crate::proto::StreamInfo;

/// Most tags of a page, and how many it has if nothing is said.
const TAGS_MAX: u32 = 10_000;
/// Bytes of tags, and on the first page of the accounts' own fields, at which a page ends: far below the 2 MiB of a message.
const BYTES_MAX: usize = 1_000_000;

/// Which page is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct TagPage {
    size: usize,
    /// The account and tag that the page before ended with.
    after: Option<(String, String)>,
}

impl TagPage {
    /// Reads what a request says.
    pub fn read(size: u32, token: &str) -> Result<Self, Status> {
        let size = match size {
            0 => TAGS_MAX,
            size @ 1..=TAGS_MAX => size,
            _ => return Err(status::start_invalid("page_size", "is more than 10000")),
        };
        let invalid = || status::start_invalid("page_token", "is none: take next_page_token as it is, or leave it out");
        let after = if token.is_empty() { None } else { Some(read_token(token).ok_or_else(invalid)?) };
        Ok(Self { size: size as usize, after })
    }

    /// The streams of this page, and the token of the next; empty if there is none. Accounts come in one order each time,
    /// and each with its tags in order.
    pub fn cut(&self, streams: impl Iterator<Item = StreamInfo>) -> (Vec<StreamInfo>, String) {
        let (mut tags, mut bytes, mut cut_after) = (0, 0, None);
        let mut page: Vec<StreamInfo> = Vec::new();
        let mut last = self.after.clone().unwrap_or_default();
        let left = self.left(streams);
        if self.after.is_none() {
            let own = |stream: &StreamInfo| {
                stream.encoded_len() - stream.tags.iter().map(Message::encoded_len).sum::<usize>()
            };
            bytes = left.iter().map(own).sum();
        }
        for mut stream in left {
            let mut fits = 0;
            for tag in &stream.tags {
                bytes += tag.encoded_len();
                if cut_after.is_some() || tags == self.size || (bytes > BYTES_MAX && tags > 0) {
                    cut_after.get_or_insert_with(|| last.clone());
                    break;
                }
                (tags, fits) = (tags + 1, fits + 1);
                last = (stream.account.clone(), tag.tag.clone());
            }
            let is_whole = fits == stream.tags.len();
            stream.tags.truncate(fits);
            // The first page has every account, so that a client which knows no pages sees all of them.
            if self.after.is_none() || fits > 0 {
                page.push(stream);
            }
            if !is_whole && self.after.is_some() {
                break;
            }
        }
        let token = cut_after.map(|(account, tag)| token(&account, &tag)).unwrap_or_default();
        (page, token)
    }

    /// What the pages before did not have.
    fn left(&self, streams: impl Iterator<Item = StreamInfo>) -> Vec<StreamInfo> {
        let mut streams: Vec<StreamInfo> = streams.collect();
        streams.sort_by(|a, b| a.account.cmp(&b.account));
        if let Some((account, tag)) = &self.after {
            streams.retain(|stream| stream.account >= *account);
            if let Some(first) = streams.first_mut().filter(|first| first.account == *account) {
                first.tags.retain(|own| own.tag > *tag);
            }
        }
        streams
    }
}

fn token(account: &str, tag: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("tags:{account}:{tag}"))
}

fn read_token(text: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (account, tag) = plain.strip_prefix("tags:")?.split_once(':')?;
    Some((account.to_owned(), tag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{GetStreamInfoResponse, TagInfo};

    fn stream(account: &str, tags: usize, tag_bytes: usize) -> StreamInfo {
        let tag = |n| TagInfo { tag: format!("{n:05}{}", "x".repeat(tag_bytes)), ..TagInfo::default() };
        StreamInfo { account: account.into(), tags: (0..tags).map(tag).collect(), ..StreamInfo::default() }
    }

    /// 10,000 tags of 505 bytes were 5.2 MB: more than clients take by default.
    #[test]
    fn page_of_long_tags_stays_within_bytes() {
        let streams = || vec![stream("a", 10_000, 500), stream("b", 3, 500), stream("c", 0, 0)];
        let (mut token, mut got, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let (page, next) = TagPage::read(0, &token).expect("its own token").cut(streams().into_iter());
            let accounts: Vec<_> = page.iter().map(|stream| stream.account.as_str()).collect();
            assert!(pages > 0 || accounts == ["a", "b", "c"], "the first has all accounts: {accounts:?}");
            got.extend(page.iter().flat_map(|own| own.tags.iter().map(|tag| (own.account.clone(), tag.tag.clone()))));
            let response = GetStreamInfoResponse { streams: page, next_page_token: next.clone() };
            assert!(response.encoded_len() <= 1 << 20, "{}", response.encoded_len());
            (token, pages) = (next, pages + 1);
            if token.is_empty() {
                break;
            }
        }
        let all =
            streams().into_iter().flat_map(|own| own.tags.into_iter().map(move |tag| (own.account.clone(), tag.tag)));
        assert_eq!(got, all.collect::<Vec<_>>(), "each tag once");
        assert!(pages > 4, "{pages}");
    }

    /// As many accounts as there may be, each with the longest error.
    #[test]
    fn first_page_of_many_accounts_stays_within_message() {
        let stream = |n| StreamInfo {
            upstream_last_error: "x".repeat(crate::grpc::convert::ERROR_BYTES_MAX),
            epoch: "e".repeat(32),
            ..stream(&format!("{n:063}"), 20, 1_000)
        };
        let streams = || (0..1_000).map(stream);
        let (first, token) = TagPage::read(0, "").expect("the first").cut(streams());
        assert_eq!(first.len(), 1_000);
        let response = GetStreamInfoResponse { streams: first, next_page_token: token.clone() };
        assert!(response.encoded_len() <= 3 << 19 && !token.is_empty(), "{}", response.encoded_len());
        let (second, _) = TagPage::read(0, &token).expect("its own token").cut(streams());
        assert!(second.iter().map(|stream| stream.tags.len()).sum::<usize>() > 500);
    }

    #[test]
    fn pages_of_any_size_have_each_tag_once() {
        let streams = || vec![stream("b", 7, 1), stream("a", 5, 1), stream("d", 0, 0), stream("c", 1, 1)];
        for size in [1, 2, 5, 6, 12, 13, 14, 10_000] {
            let (mut token, mut got) = (String::new(), Vec::new());
            loop {
                let (page, next) = TagPage::read(size, &token).expect("its own token").cut(streams().into_iter());
                let count = page.iter().map(|own| own.tags.len()).sum::<usize>();
                assert!(count <= size as usize && count > 0);
                got.extend(
                    page.iter().flat_map(|own| own.tags.iter().map(|tag| (own.account.clone(), tag.tag.clone()))),
                );
                token = next;
                if token.is_empty() {
                    break;
                }
            }
            assert_eq!(got.len(), 13, "{size}");
            assert!(got.is_sorted() && got.iter().collect::<std::collections::HashSet<_>>().len() == 13);
        }
    }

    #[test]
    fn page_token_of_another_list_is_refused() {
        for bad in ["x", "!", &URL_SAFE_NO_PAD.encode("gaps:7"), &URL_SAFE_NO_PAD.encode("tags:a")] {
            assert_eq!(TagPage::read(0, bad).expect_err("refused").code(), tonic::Code::InvalidArgument, "{bad}");
        }
        assert!(TagPage::read(10_001, "").is_err());
    }
}
