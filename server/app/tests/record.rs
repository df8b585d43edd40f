//! What happened in a history, for the oracle and for people.

use std::ops::{Deref, DerefMut};

use ::oracle::{Content, Subscription};

use super::plan::{Extra, Plan};
use super::truth::{Ms, Post, SECOND, Want};
use super::x::{Arrival, Connection};

/// What a subscriber wanted, and what it got.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub want: Want,
    pub got: Subscription,
}

impl Deref for Seen {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.got
    }
}

impl DerefMut for Seen {
    fn deref_mut(&mut self) -> &mut Subscription {
        &mut self.got
    }
}

/// What happened, for the oracle.
pub(super) struct Record {
    pub plan: Plan,
    pub posts: Vec<Post>,
    pub arrivals: Vec<Arrival>,
    pub connections: Vec<Connection>,
    pub subscriptions: Vec<Seen>,
    pub losses: Vec<Loss>,
    /// When the history began, and when it was over.
    pub from: Ms,
    pub to: Ms,
    /// Times for which the gateway did not run, or was stopped.
    pub pauses: Vec<(Ms, Ms)>,
    /// Intervals that GetCoverage calls complete in the end.
    pub complete: Vec<(Ms, Ms)>,
    /// What was seen to be wrong while it was played.
    pub faults: Vec<String>,
}

/// The log lost what was appended after `kept_to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub at: Ms,
    pub kept_to: Ms,
}

/// Time within which a message that cannot be taken is announced.
const SKIPS_WITHIN: Ms = 2 * SECOND;
/// The same of a message that is cut off: the lines behind it show that it does not continue, and wait for that.
pub(super) const CUTS_WITHIN: Ms = 45 * SECOND;

impl Record {
    /// Time within which a message of this kind that cannot be taken is announced.
    pub(super) fn skips_within(&self, arrival: &Arrival) -> Ms {
        let cut = |it: &&Arrival| it.connection == arrival.connection && it.ruin == Some(Extra::CutPost);
        let mut cuts = self.arrivals.iter().filter(cut);
        let is_behind = cuts.any(|it| it.at <= arrival.at && arrival.at <= self.running_until(it.at, CUTS_WITHIN));
        if is_behind { CUTS_WITHIN } else { SKIPS_WITHIN }
    }

    /// When the gateway has run for so long since then.
    pub(super) fn running_until(&self, since: Ms, duration: Ms) -> Ms {
        ::oracle::running_until(&self.pauses, since, duration)
    }

    /// Prints what happened, by seconds since the start.
    pub(super) fn print(&self) {
        let relative = |time: Ms| (time - self.from) as f64 / 1_000.0;
        for (number, own) in self.connections.iter().enumerate() {
            let window = own.window.map(|(from, to)| (relative(from), relative(to)));
            let signs = own.signs.map(|(first, last)| (relative(first), relative(last)));
            let arrivals = self.arrivals.iter().filter(|it| it.connection == number).count();
            println!(
                "connection {number} at {}: {window:?} asked {:?}, stream {}, signs {signs:?}, lag {}, {arrivals} posts, closed {:?}",
                relative(own.opened),
                own.asked,
                own.is_stream,
                own.lag,
                own.closed.map(relative)
            );
        }
        println!(
            "losses {:?}",
            self.losses.iter().map(|it| (relative(it.at), relative(it.kept_to.max(0)))).collect::<Vec<_>>()
        );
        for seen in &self.subscriptions {
            println!("subscription {} {:?}", seen.number, seen.want);
            for session in &seen.sessions {
                let missing = session.missing.map(|(from, to)| (relative(from), to.map(relative)));
                println!(
                    " session at {} {:?} {:?} {missing:?} {:?}",
                    relative(session.at),
                    session.from,
                    session.outcome,
                    session.open_gaps
                );
                for frame in &session.frames {
                    match &frame.content {
                        Content::Posts { events, may_repeat, is_private } => {
                            let ids: Vec<_> = events.iter().map(|it| (it.sequence, it.id)).collect();
                            println!("  {} posts {ids:?} {may_repeat} {is_private}", relative(frame.at));
                        }
                        Content::Gap(gap) => println!(
                            "  {} gap {} [{}, {:?}) {:?} {} {}",
                            relative(frame.at),
                            gap.id,
                            relative(gap.from),
                            gap.to.map(relative),
                            gap.state,
                            gap.evidence,
                            gap.cause
                        ),
                        Content::Heartbeat { low_watermark } => {
                            println!("  {} low {}", relative(frame.at), relative(*low_watermark))
                        }
                        other => println!("  {} {other:?}", relative(frame.at)),
                    }
                }
            }
        }
    }
}
