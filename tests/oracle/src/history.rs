//! What upstream held and did, and what happened to the gateway.

use std::sync::Arc;

use crate::index::Index;
use crate::seen::{Content, Subscription};

/// Milliseconds since 1970 by upstream's clock, or a duration in milliseconds.
pub type Ms = i64;

/// A rule as upstream names it in a payload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Its id; 0 if the payload has none.
    pub id: u64,
    /// Its tag.
    pub tag: Option<Arc<str>>,
}

/// A post of upstream.
#[derive(Clone, Debug)]
pub struct Post {
    /// Its id.
    pub id: u64,
    /// When it was created.
    pub created: Ms,
    /// The rules that every arrival of it has.
    pub rules: Vec<Rule>,
    /// All rules that it ever has.
    pub rules_ever: Vec<Rule>,
    /// Some feed of the account carries it.
    pub is_carried: bool,
    /// Upstream sends it once more by itself.
    pub is_sent_again: bool,
    /// The part of the stream that it belongs to, where connections carry parts.
    pub feed: u8,
}

/// A post, written to a connection. The writes of a connection are in the order of the wire.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its place in [`History::posts`].
    pub post: usize,
    /// Its place in [`History::connections`].
    pub connection: usize,
    /// When it was written.
    pub at: Ms,
    /// The rules in the payload.
    pub rules: Vec<Rule>,
    /// The payload.
    pub payload: Arc<str>,
    /// It cannot be taken as it was written (cut off, too long, another format).
    pub is_ruined: bool,
    /// It is certain that the gateway read it.
    pub is_read: bool,
    /// Upstream sent it as backfill.
    pub is_backfill: bool,
}

/// A request to upstream that was answered.
#[derive(Clone, Debug)]
pub struct Connection {
    /// When it was answered.
    pub opened: Ms,
    /// When it was over for upstream.
    pub closed: Option<Ms>,
    /// The window of a recovery request; live without one.
    pub window: Option<(Ms, Ms)>,
    /// The part of the stream that it carries; all of it without one.
    pub feed: Option<u8>,
    /// Backfill was asked for.
    pub asked_backfill: bool,
    /// It was answered with a stream.
    pub is_stream: bool,
    /// The first sign of life was read no later than this, and the last one no earlier; none was read without it.
    pub signs: Option<(Ms, Ms)>,
    /// How late posts were read, at most.
    pub lag: Ms,
}

/// The log lost what was appended after `kept_to`.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// When.
    pub at: Ms,
    /// What was read up to this time is kept; `Ms::MIN` if nothing is.
    pub kept_to: Ms,
}

/// The counters of one process, or of one session, when it ended: the parts add up to the whole.
#[derive(Clone, Debug)]
pub struct Tally {
    /// What was counted.
    pub name: String,
    /// The whole.
    pub whole: u64,
    /// Its parts.
    pub parts: Vec<(String, u64)>,
}

/// What was configured, and what the recording guarantees.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Allowed lateness.
    pub lateness: Ms,
    /// How far the gateway's clock may be from upstream's.
    pub uncertainty: Ms,
    /// How long records are kept.
    pub retention: Ms,
    /// How far back upstream recovers.
    pub recovery_window: Ms,
    /// Live connections that are allowed at once.
    pub live_max: usize,
    /// Recovery requests that are allowed at once.
    pub jobs_max: usize,
    /// Age up to which a post may be on its way at the end.
    pub under_way: Ms,
    /// Time within which a message that cannot be taken is announced.
    pub skips_within: Ms,
    /// How much later than its write a post may be read, and the clock of the host may step, for the width of gaps; their
    /// width is not checked without it.
    pub tight_within: Option<Ms>,
    /// All gaps must have ended.
    pub is_settled: bool,
    /// The process was killed: sessions may end without a reason.
    pub is_killed: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct History {
    /// The posts of upstream.
    pub posts: Vec<Post>,
    /// When each was written.
    pub writes: Vec<Write>,
    /// What the gateway asked for.
    pub connections: Vec<Connection>,
    /// What subscriptions got.
    pub subscriptions: Vec<Subscription>,
    /// Losses of the log.
    pub losses: Vec<Loss>,
    /// Times for which the gateway did not run, or was stopped.
    pub pauses: Vec<(Ms, Ms)>,
    /// Counters.
    pub tallies: Vec<Tally>,
    /// Most live connections and recovery requests that upstream ever had at once, where it counts them itself.
    pub most_at_once: Option<(usize, usize)>,
    /// When it began.
    pub from: Ms,
    /// When it was over.
    pub to: Ms,
    /// What holds for it.
    pub terms: Terms,
}

impl Terms {
    /// The defaults of the contract, with one connection.
    pub fn new() -> Self {
        const SECOND: Ms = 1_000;
        const HOUR: Ms = 3_600 * SECOND;
        Self {
            lateness: 30 * SECOND,
            uncertainty: 3 * SECOND,
            retention: 24 * HOUR,
            recovery_window: 24 * HOUR,
            live_max: 1,
            jobs_max: 2,
            under_way: 0,
            skips_within: 1_500,
            tight_within: None,
            is_settled: true,
            is_killed: false,
        }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    /// True for a live stream, in contrast to a recovery request.
    pub fn is_live(&self) -> bool {
        self.window.is_none() && self.is_stream
    }
}

/// When the gateway has run for so long since then: it does nothing in pauses, which are in order.
pub fn running_until(pauses: &[(Ms, Ms)], since: Ms, duration: Ms) -> Ms {
    let mut until = since + duration;
    for (from, to) in pauses.iter().filter(|(_, to)| *to > since) {
        if *from > until {
            break;
        }
        until += to - (*from).max(since);
    }
    until
}

impl History {
    /// Notes which writes the gateway certainly read, where upstream knows only what it wrote: writes that were delivered to
    /// any subscription, and what stands before them on the same connection. First and last signs of connections and their
    /// lag are bounded by the same deliveries.
    pub fn infer_reads(&mut self) {
        // The place of the last write of each connection that was read, and when a first one was delivered.
        let mut read: Vec<Option<(usize, Ms)>> = vec![None; self.connections.len()];
        let mut lags: Vec<Ms> = vec![0; self.connections.len()];
        let index = Index::new(self);
        for seen in &self.subscriptions {
            for frame in seen.sessions.iter().flat_map(|session| &session.frames) {
                let Content::Posts { events, .. } = &frame.content else { continue };
                for event in events {
                    let sources = index.sources(event);
                    let Some(&at) = sources.first() else { continue };
                    let write = &self.writes[at];
                    if sources.iter().any(|other| self.writes[*other].connection != write.connection) {
                        continue;
                    }
                    let (last, first) = read[write.connection].unwrap_or((at, frame.at));
                    read[write.connection] = Some((last.max(at), first.min(frame.at)));
                    let lag = &mut lags[write.connection];
                    *lag = (*lag).max(frame.at - self.posts[write.post].created);
                }
            }
        }
        for (at, write) in self.writes.iter_mut().enumerate() {
            write.is_read = read[write.connection].is_some_and(|(last, _)| at <= last) && !write.is_ruined;
        }
        for (connection, (read, lag)) in self.connections.iter_mut().zip(read.into_iter().zip(lags)) {
            connection.lag = lag;
            // Where nothing is certain, the first sign may have been read up to the end, and none after the first moment.
            let widest = connection.signs.map(|_| (connection.closed.unwrap_or(self.to), connection.opened));
            connection.signs = read.map(|(last, first)| (first, self.writes[last].at)).or(widest);
        }
    }
}
