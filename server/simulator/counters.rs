use serde::Serialize;

/// What happened so far: each fault that fired, and what was served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// TCP connections accepted.
    pub sockets: u64,
    /// Live streams that began (200).
    pub connects: u64,
    /// Recovery jobs that began (200).
    pub recovery_jobs: u64,
    /// Recovery jobs that were sent to their end.
    pub recovery_jobs_ended: u64,
    /// Requests with a wrong or no bearer token.
    pub unauthorized: u64,
    /// Requests with parameters that are refused.
    pub bad_requests: u64,
    /// Live connections and jobs refused because there were too many.
    pub too_many_connections: u64,
    /// Requests refused on purpose.
    pub refused: u64,
    /// Of these, requests for a recovery job.
    pub refused_recovery: u64,
    /// Of these, redirects (3xx).
    pub redirects: u64,
    /// Streams that were cut with a clean end.
    pub cuts_clean_end: u64,
    /// Streams that were cut with RST.
    pub cuts_reset: u64,
    /// Streams that were cut inside a message.
    pub cuts_mid_message: u64,
    /// Streams that were cut within a post, after the first half of it.
    pub cuts_mid_post: u64,
    /// Streams that were cut behind the closing brace of a post.
    pub cuts_after_brace: u64,
    /// Streams that were cut in the compressed bytes of a post.
    pub cuts_mid_gzip: u64,
    /// Streams that ended with an error object of X's.
    pub in_stream_errors: u64,
    /// Streams that were a web page.
    pub html_answers: u64,
    /// Streams that ended before they began.
    pub empty_answers: u64,
    /// Malformed lines sent.
    pub garbage_lines: u64,
    /// Bytes sent of messages without an end.
    pub trickled_bytes: u64,
    /// Heartbeats left out on purpose.
    pub heartbeats_skipped: u64,
    /// Heartbeats that the jitter made late.
    pub heartbeats_late: u64,
    /// Answers whose `Date` was absent or wrong on purpose.
    pub dates_wrong: u64,
    /// Slots that stayed taken after an unclean end.
    pub slots_held: u64,
    /// Stalls that a stream has met.
    pub stalls: u64,
    /// Live connections ended because they read too slowly.
    pub slow_readers: u64,
    /// Live connections ended because there were too many.
    pub excess_ended: u64,
    /// Streams that the client left.
    pub left_by_client: u64,
    /// Live connections that were served a backfill.
    pub backfills: u64,
    /// Posts sent as backfill, repeats included.
    pub backfill_posts: u64,
    /// Posts of a backfill that were sent a second time.
    pub backfill_repeats: u64,
    /// Live posts sent before the backfill was done.
    pub backfill_interleaved: u64,
    /// Backfills asked for and ignored.
    pub backfills_ignored: u64,
    /// Backfills refused: by setting, or after a slow reader was dropped.
    pub backfills_refused: u64,
    /// Recovery jobs that died on purpose.
    pub recovery_died: u64,
    /// Minutes that recovery jobs left out and named.
    pub recovery_minutes_failed: u64,
    /// Recovery jobs that stopped and named what they had not processed.
    pub recovery_unprocessed: u64,
    /// Recovery jobs that sent all posts without a completion message.
    pub recovery_silent: u64,
    /// Recovery requests refused because their end was too recent.
    pub recovery_too_fresh: u64,
    /// Posts sent by recovery jobs.
    pub recovery_posts: u64,
    /// Posts sent live, over all connections.
    pub live_posts: u64,
    /// Those of them that connections sent which are late.
    pub late_posts: u64,
    /// Heartbeats sent.
    pub heartbeats: u64,
    /// Messages that are no posts, put into the streams on purpose.
    pub injected: u64,
    /// Posts drawn or played, matched or not.
    pub drawn: u64,
    /// Posts put into the past.
    pub past: u64,
    /// Posts sent again with more rules.
    pub redelivered: u64,
    /// Lines of the played file that are no posts, and were left out.
    pub lines_left_out: u64,
    /// Rule requests served.
    pub rule_requests: u64,
    /// Rule requests refused, over the limit or wrong.
    pub rule_requests_refused: u64,
    /// Rule requests that got no answer on purpose.
    pub rule_requests_unanswered: u64,
    /// Rule requests that met an injected fault.
    pub rule_faults: u64,
    /// Rules that were added or deleted without a request of the account.
    pub rules_changed_by_others: u64,
}

/// A request as it came, for assertions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// GET, POST or DELETE.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers without the bearer token, names in lower case.
    pub headers: Vec<(String, String)>,
    /// When it came, in milliseconds since 1970.
    pub received_ms: i64,
    /// The status it was answered with.
    pub status: u16,
}
