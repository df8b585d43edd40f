use std::time::Duration;

use url::Url;

use crate::model::UnixMillis;
use crate::secret::{Secret, SecretError, SecretSource};

/// Source of the bearer token of an account. It is read again before each attempt, so that a rotated token is found
/// without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials(SecretSource);

impl Credentials {
    /// Creates credentials from a secret source.
    pub fn new(source: SecretSource) -> Self {
        Self(source)
    }

    /// Reads the current bearer token.
    pub fn bearer(&self) -> Result<Secret, SecretError> {
        self.0.read()
    }
}

/// Minutes of backfill to request: 1 to 5 (X, recovery-and-redundancy: "one to five").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackfillMinutes(u8);

impl BackfillMinutes {
    /// Maximum that X supports.
    pub const MAX: Self = Self(5);

    /// Returns `None` outside of 1 to 5.
    pub fn new(minutes: u8) -> Option<Self> {
        (1..=Self::MAX.0).contains(&minutes).then_some(Self(minutes))
    }

    /// Returns the fewest minutes that cover a duration, at most 5. X accepts whole minutes, so it is rounded up.
    pub fn covering(duration: Duration) -> Self {
        let minutes = duration.as_millis().div_ceil(60_000).clamp(1, u128::from(Self::MAX.0));
        Self(minutes as u8)
    }

    /// Returns the minutes.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Interval of a recovery request, [from, to), at X's resolution of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamWindow {
    /// Start, rounded down to the second.
    pub from: UnixMillis,
    /// End, rounded up to the second.
    pub to: UnixMillis,
}

/// A request for the stream: live, live with backfill, or recovery of a window.
#[derive(Clone, Debug)]
pub struct StreamRequest {
    /// Origin of the API, `https://api.x.com` in production.
    pub base_url: Url,
    /// The account's bearer token.
    pub bearer: Secret,
    /// Only posts created in the datacenter that answers.
    pub local_dc_only: bool,
    /// Minutes of backfill to send first.
    pub backfill_minutes: Option<BackfillMinutes>,
    /// Recovery: send the posts of this window, then end.
    pub window: Option<StreamWindow>,
}

impl StreamRequest {
    /// Returns the URL with parameters as X documents them (Powerstream introduction; recovery and redundancy).
    pub fn url(&self) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["2", "powerstream"]);
        }
        let mut query = Vec::new();
        if let Some(minutes) = self.backfill_minutes {
            query.push(format!("backfillMinutes={}", minutes.get()));
        }
        if let Some(window) = self.window {
            query.push(format!("startTime={}", seconds(window.from.0.div_euclid(1_000))));
            query.push(format!("endTime={}", seconds(window.to.0.saturating_add(999).div_euclid(1_000))));
        }
        if self.local_dc_only {
            query.push("localDcOnly=true".to_owned());
        }
        let query = query.join("&");
        url.set_query((!query.is_empty()).then_some(&query));
        url.set_fragment(None);
        url
    }
}

/// `YYYY-MM-DDTHH:mm:ssZ`.
fn seconds(unix_seconds: i64) -> String {
    let nearest = unix_seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
    jiff::Timestamp::from_second(nearest).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: &str, change: impl FnOnce(&mut StreamRequest), expected: &str) {
        let mut request = StreamRequest {
            base_url: base.parse().expect("a URL"),
            bearer: Secret::new("bearer-of-test".to_owned()),
            local_dc_only: false,
            backfill_minutes: None,
            window: None,
        };
        change(&mut request);
        assert_eq!(request.url().as_str(), expected);
        assert!(!format!("{request:?}").contains("bearer-of-test"));
    }

    #[test]
    fn urls_are_as_x_documents_them() {
        let window = StreamWindow { from: UnixMillis(1_762_557_264_155), to: UnixMillis(1_762_557_300_001) };
        check("https://api.x.com", |_| {}, "https://api.x.com/2/powerstream");
        check("https://api.x.com/", |_| {}, "https://api.x.com/2/powerstream");
        check("http://127.0.0.1:8099/x/", |_| {}, "http://127.0.0.1:8099/x/2/powerstream");
        check(
            "https://api.x.com",
            |r| r.backfill_minutes = BackfillMinutes::new(5),
            "https://api.x.com/2/powerstream?backfillMinutes=5",
        );
        check(
            "https://api.x.com",
            |r| r.window = Some(window),
            "https://api.x.com/2/powerstream?startTime=2025-11-07T23:14:24Z&endTime=2025-11-07T23:15:01Z",
        );
        check(
            "https://api.x.com",
            |r| (r.local_dc_only, r.backfill_minutes) = (true, Some(BackfillMinutes::MAX)),
            "https://api.x.com/2/powerstream?backfillMinutes=5&localDcOnly=true",
        );
    }

    #[test]
    fn backfill_is_one_to_five_whole_minutes() {
        assert_eq!(BackfillMinutes::new(0), None);
        assert_eq!(BackfillMinutes::new(6), None);
        for (ms, minutes) in [(0, 1), (1, 1), (60_000, 1), (60_001, 2), (90_000, 2), (300_000, 5), (86_400_000, 5)] {
            assert_eq!(BackfillMinutes::covering(Duration::from_millis(ms)).get(), minutes, "{ms}");
        }
    }

    #[test]
    fn bearer_is_read_again_before_each_attempt() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bearer");
        let credentials = Credentials::new(SecretSource::File(path.clone()));
        assert!(credentials.bearer().is_err());
        for value in ["first", "second"] {
            std::fs::write(&path, value).expect("written");
            assert_eq!(credentials.bearer().expect("a bearer").expose(), value);
        }
    }
}
