use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::backoff::{Backoff, Growth};
use crate::xapi::ClientOptions;

/// Settings of an account's connections to X.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Silence after which a connection is considered dead: neither a whole message nor a heartbeat arrived. X sends
    /// a heartbeat every 20 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub stale_after: Duration,
    /// Maximum duration of a connect, including TLS.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// Maximum time from the request to the response headers, and from there to the end of an error body.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub response_timeout: Duration,
    /// Maximum bytes of a message. Longer messages are skipped and counted.
    pub message_bytes_max: usize,
    /// Maximum rules of a post (X allows 1,000 rules). A post with more rules, or with a tag of more than 1,020
    /// bytes, is skipped and counted as oversized.
    pub post_rules_max: usize,
    /// Maximum bytes of messages in one batch of the reader.
    pub batch_bytes_max: usize,
    /// Reads each connection on a thread of its own. `false`: on those of the sessions, which saves a wake-up by the kernel for
    /// each post, for few subscribers of few posts; with many, reading waits for deliveries.
    pub own_thread: bool,
    /// First backoff after a network failure, and its increment.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub network_backoff_step: Duration,
    /// Maximum backoff after network failures.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub network_backoff_max: Duration,
    /// First backoff after an HTTP error; doubled with each.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub http_backoff_step: Duration,
    /// Maximum backoff after HTTP errors.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub http_backoff_max: Duration,
    /// First backoff after a 429 for too many requests or connections; doubled with each.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rate_limit_backoff_step: Duration,
    /// Maximum backoff after such a 429.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rate_limit_backoff_max: Duration,
    /// Delay after X reported that the usage cap is reached.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub usage_cap_retry: Duration,
    /// Age at which a connection with signs of life is healthy. The next backoff then starts at its first step.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub healthy_after: Duration,
    /// Maximum random extension of a backoff, in percent.
    pub jitter_percent_max: u8,
    /// HTTPS proxy (CONNECT), without user name and password. Proxies of the environment are ignored.
    pub proxy: Option<Url>,
    /// PEM file with certificate authorities to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Between a missed heartbeat of X's 20 s and a second one: a timer of 20 s flaps
            // (HunterLarco/twitter-v2#64).
            stale_after: Duration::from_secs(35),
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(30),
            // The largest of some 450 real posts has 18.5 KB; hbc cuts at 500,000 bytes.
            message_bytes_max: 1 << 20,
            // Rules of one stream (Powerstream introduction).
            post_rules_max: 1_000,
            // About a hundred posts: enough to share the cost of a batch.
            batch_bytes_max: 256 << 10,
            own_thread: true,
            // The three backoffs are X's (F-HD, "Handling disconnections").
            network_backoff_step: Duration::from_millis(250),
            network_backoff_max: Duration::from_secs(16),
            http_backoff_step: Duration::from_secs(5),
            http_backoff_max: Duration::from_secs(320),
            rate_limit_backoff_step: Duration::from_secs(60),
            // X gives no maximum; its rate limit window has 15 minutes (RL).
            rate_limit_backoff_max: Duration::from_secs(15 * 60),
            // The cap ends with a day or a month; the customer may raise it earlier.
            usage_cap_retry: Duration::from_secs(3_600),
            // More than one heartbeat.
            healthy_after: Duration::from_secs(30),
            jitter_percent_max: 10,
            proxy: None,
            ca_file: None,
        }
    }
}

impl Config {
    /// Returns the settings of the production transport.
    pub fn client_options(&self) -> ClientOptions {
        ClientOptions {
            connect_timeout: self.connect_timeout,
            proxy: self.proxy.clone(),
            ca_file: self.ca_file.clone(),
        }
    }

    pub(super) fn network_backoff(&self) -> Backoff {
        Backoff { step: self.network_backoff_step, max: self.network_backoff_max, growth: Growth::Linear }
    }

    pub(super) fn http_backoff(&self) -> Backoff {
        Backoff { step: self.http_backoff_step, max: self.http_backoff_max, growth: Growth::Doubling }
    }

    pub(super) fn rate_limit_backoff(&self) -> Backoff {
        Backoff { step: self.rate_limit_backoff_step, max: self.rate_limit_backoff_max, growth: Growth::Doubling }
    }
}
