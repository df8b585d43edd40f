//! Gaps of the log are no wider than what the wire explains (I2b; contract, 6.2).

use ::oracle::Gap;

use crate::app::tests::record::Record;
use crate::app::tests::truth::{ALLOWED_LATENESS, MINUTE, Ms, SECOND, UNCERTAINTY};
use crate::app::tests::x::Connection;

/// A connection that is up for longer has closed its gaps, or left them to recovery.
const CLOSED_WITHIN: Ms = 11 * MINUTE;
/// Lag that widens a gap, at most.
const LAG_MAX: Ms = 10 * MINUTE;
/// Time that a backfill delivers, at most.
const BACKFILL_MAX: Ms = 5 * MINUTE;
/// A connection on which so many posts were due is late, or none of them was sent.
const DUE_MIN: f64 = 3.0;
/// The gateway may take a rate of a short time for so much higher than it is.
const RATE_ERROR: f64 = 3.0;
/// A rate of a shorter time is not known.
const RATE_TIME_MIN: Ms = 30 * SECOND;

/// A live connection, as the wire shows it.
struct Carried {
    first: Ms,
    last: Ms,
    /// How much older than its last sign of life the first post can be that it did not deliver.
    margin: Ms,
}

/// A fault if a gap of the log is wider than what the wire explains. The parts of a gap that was divided are checked as one:
/// `all` are those of the log.
pub(super) fn check(record: &Record, gap: &Gap, all: &[&Gap]) -> Option<String> {
    // With redundant connections an interval is covered by any of them.
    let to = gap.to.filter(|_| record.plan.setup.connections == 1)?;
    let mut begin = gap.from;
    while let Some(part) = all.iter().find(|own| own.log == gap.log && own.to == Some(begin) && own.from < begin) {
        begin = part.from;
    }
    let carried = carried(record);
    let outages = outages(record, &carried);
    let tolerance = UNCERTAINTY + allowed_lateness(record);
    let begins = outages.iter().rposition(|(from, until)| *from - tolerance <= begin && begin <= *until);
    let ends = outages.iter().position(|(_, until)| to <= *until + tolerance);
    // A gap that was not closed when its connection ended continues over the next one.
    let chained = |begins: usize, ends: usize| {
        carried[begins..ends].iter().all(|own| own.last - own.first < CLOSED_WITHIN + tolerance)
    };
    if begins.zip(ends).is_some_and(|(begins, ends)| ends <= begins || chained(begins, ends)) {
        return None;
    }
    let relative = |time: Ms| (time.max(record.from - MINUTE) - record.from) as f64 / 1_000.0;
    let outages: Vec<_> = outages.iter().map(|(from, to)| (relative(*from), relative(*to))).collect();
    Some(format!("I2b: gap [{}, {}] {gap:?} is not of {outages:?}", relative(gap.from), relative(to)))
}

/// The live connections that gave signs of life, in order.
fn carried(record: &Record) -> Vec<Carried> {
    let per_ms = f64::from(record.plan.setup.traffic.per_hour) / 3_600_000.0;
    let (mut shown, mut rate) = (0, RATE_ERROR * per_ms);
    let mut carried = Vec::new();
    for (number, own) in record.connections.iter().enumerate().filter(|(_, it)| it.window.is_none() && it.is_stream) {
        let Some((first, last)) = own.signs else { continue };
        rate = rate.max(measured(record, number, first));
        // Before its first post, a connection is taken for as late as any before it.
        shown = shown.max(if own.newest > 0 { own.lag } else { 0 });
        let lag = if own.newest > 0 { own.lag } else { shown };
        let margin = lag.max(silence(own, (first, last), rate)).clamp(ALLOWED_LATENESS, LAG_MAX);
        let begins = checkpoint(record, number, rate).map_or(last - margin, |begins| begins.min(last - margin));
        carried.push(Carried { first, last, margin: (last - begins).max(margin) });
    }
    carried
}

/// The highest rate at which live posts came on a connection since it began, by milliseconds.
fn measured(record: &Record, number: usize, first: Ms) -> f64 {
    let is_live = |post: usize| record.posts[post].created >= first - ALLOWED_LATENESS;
    let came = record.arrivals.iter().filter(|it| it.connection == number && !it.is_ruined && is_live(it.post));
    let rate = |(count, at): (u32, Ms)| f64::from(count) / (at - first).max(RATE_TIME_MIN) as f64;
    (1..).zip(came.map(|it| it.at)).map(rate).fold(0.0, f64::max)
}

/// Where the gap after a killed process begins by a checkpoint from before the last stop of its reader, at the earliest: the
/// posts that came since are not in it.
fn checkpoint(record: &Record, number: usize, rate: f64) -> Option<Ms> {
    let closed = record.connections[number].closed?;
    record.losses.iter().find(|loss| loss.at == closed)?;
    let interval = record.plan.setup.maintenance_interval + SECOND;
    let (stopped, _) = record.pauses.iter().rfind(|(from, to)| *from < closed && closed <= *to + interval)?;
    let came = record.arrivals.iter().filter(|it| it.connection == number && !it.is_ruined && it.at <= *stopped);
    let newest = came.map(|it| record.posts[it.post].created).max()?;
    let is_silent = rate * ((stopped - newest) as f64) >= DUE_MIN;
    is_silent.then_some(newest.max(stopped - LAG_MAX))
}

/// How long no post came although posts were due: heartbeats do not distinguish a quiet connection from a late one.
fn silence(own: &Connection, (first, last): (Ms, Ms), rate: f64) -> Ms {
    let since = if own.newest > 0 { own.newest } else { first };
    let is_plausible = rate * ((last - since) as f64) < DUE_MIN;
    if is_plausible { 0 } else { last - since }
}

/// The times that connections left out, each from the end of one to the start of the next.
fn outages(record: &Record, carried: &[Carried]) -> Vec<(Ms, Ms)> {
    let outage = |at: usize| {
        let first = carried[at].first;
        // Before the first connection nothing is known.
        let from = at.checked_sub(1).map_or(Ms::MIN / 2, |before| carried[before].last - carried[before].margin);
        // In a log that lost its tail all is missing since the newest record that is left, and how late that was is not known.
        let kept = record.losses.iter().filter(|loss| loss.kept_to > Ms::MIN && loss.kept_to < loss.at - 1);
        let kept = kept.filter(|loss| loss.at <= first && from < loss.at).map(|loss| {
            let newest = record.arrivals.iter().rfind(|it| it.at <= loss.kept_to).map(|it| it.at.min(loss.kept_to));
            // If none is left, all is missing since the log began, with the posts of its first backfill.
            newest.unwrap_or(record.from - BACKFILL_MAX) - LAG_MAX
        });
        (kept.min().map_or(from, |kept| kept.min(from)), first + ALLOWED_LATENESS)
    };
    (0..carried.len()).map(outage).collect()
}

/// The clock of the host, and stops of the process, widen a gap.
fn allowed_lateness(record: &Record) -> Ms {
    let longest = record.pauses.iter().map(|(from, to)| to - from).max().unwrap_or(0);
    // A correction of the clock may count twice: for the host before and for the one after.
    let corrected = if record.plan.hosts_agree() { 0 } else { record.plan.hosts_spread() };
    longest + record.plan.setup.maintenance_interval + corrected
}
