//! Binary encoding of a resume token.
//!
//! ```text
//! body    = length:u8 account epoch:u128 term:u64 sequence:u64 low:signed start:signed filter:u64
//!           reached:signed flags:u8 [repeats_until:signed] [private] [start_from:varint]
//! flags   = bit 0: repeats_until follows, bit 1: private follows, bit 2: start_from follows, bit 3: ranges follow
//! private = tag:u32 main_from:varint count:u8 gap* [ranges]
//! gap    = cause:u8 (0 trimmed, 1 log lost, 2 journal corrupt; bit 7: the last three follow, bit 6: closed,
//!           bit 5: restarted) from:signed length:signed offset:varint repeats_until:signed
//!           [since:varint passed_until:varint born:varint]
//! ranges  = partial:u8 count:u8 (from:varint length:varint)*
//! ```
//!
//! `subscription_from` is encoded as its distance back from `sequence + 1`, below 2^35; with it, `subscription_start`
//! is relative to `low`, so that the token is no longer than one without it.
//!
//! Times except `low` and `subscription_start` are relative: `reached`, `repeats_until` and the `from` of a gap to
//! `low`, the other times of a gap to its `from`. Signed numbers are zigzag varints. Older versions wrote no ranges,
//! and gaps without the last three fields.

use prost::encoding::{decode_varint, encode_varint};

use super::resume_token::ResumeToken;
use crate::hub::side_log::{Coverage, PrivateGap, PrivateGaps};
use crate::model::{AccountName, Epoch, GapCause, Position, Sequence, Term, TimeRange, UnixMillis};

const REPEATS_FOLLOW: u8 = 1;
const PRIVATE_FOLLOWS: u8 = 2;
const SUBSCRIPTION_FROM_FOLLOWS: u8 = 4;
const RANGES_FOLLOW: u8 = 8;

/// Positions in this list are encoded in tokens.
const CAUSES: [GapCause; 3] = [GapCause::Trimmed, GapCause::LogLost, GapCause::JournalCorrupt];
const CAUSE_BITS: u8 = 0x1f;
const RESTARTED: u8 = 0x20;
const CLOSED: u8 = 0x40;
const EXTENDED: u8 = 0x80;

pub(super) fn encode(token: &ResumeToken, out: &mut Vec<u8>) {
    let low = token.low_watermark;
    let name = token.account.as_str().as_bytes();
    out.push(name.len() as u8);
    out.extend_from_slice(name);
    out.extend_from_slice(&token.position.epoch.0.to_le_bytes());
    out.extend_from_slice(&token.position.term.0.to_le_bytes());
    out.extend_from_slice(&token.position.sequence.to_le_bytes());
    put_signed(low.0, out);
    let subscription_back = token.subscription_back();
    match subscription_back {
        Some(_) => put_time(token.subscription_start, low, out),
        None => put_signed(token.subscription_start.0, out),
    }
    out.extend_from_slice(&token.filter.to_le_bytes());
    put_time(token.received_up_to, low, out);
    let repeats = if token.duplicates_until.is_some() { REPEATS_FOLLOW } else { 0 };
    let private = if token.private.is_some() { PRIVATE_FOLLOWS } else { 0 };
    let subscription_from = if subscription_back.is_some() { SUBSCRIPTION_FROM_FOLLOWS } else { 0 };
    let has_ranges = token.private.as_ref().is_some_and(|private| has_ranges(&private.coverage));
    out.push(repeats | private | subscription_from | if has_ranges { RANGES_FOLLOW } else { 0 });
    if let Some(until) = token.duplicates_until {
        put_time(until, low, out);
    }
    if let Some(private) = &token.private {
        put_private(private, low, out);
    }
    if let Some(back) = subscription_back {
        encode_varint(back, out);
    }
}

fn put_private(private: &PrivateGaps, low: UnixMillis, out: &mut Vec<u8>) {
    out.extend_from_slice(&private.tag.to_le_bytes());
    encode_varint(private.coverage.main_log_from, out);
    out.push(private.private_gaps.len() as u8);
    private.private_gaps.iter().for_each(|private_gap| put_gap(private_gap, low, out));
    if has_ranges(&private.coverage) {
        put_ranges(&private.coverage, out);
    }
}

fn put_gap(private_gap: &PrivateGap, low: UnixMillis, out: &mut Vec<u8>) {
    let PrivateGap { span, cause, since, offset, passed_until, born, repeats_until, is_restarted, is_closed } =
        private_gap;
    let cause = CAUSES.iter().position(|known| known == cause).unwrap_or(0) as u8;
    let restarted = if *is_restarted { RESTARTED } else { 0 };
    let closed = if *is_closed { CLOSED } else { 0 };
    out.push(cause | restarted | closed | EXTENDED);
    put_time(span.from, low, out);
    put_time(span.to, span.from, out);
    encode_varint(*offset, out);
    put_time(*repeats_until, span.from, out);
    [since, passed_until, born].into_iter().for_each(|number| encode_varint(*number, out));
}

fn has_ranges(coverage: &Coverage) -> bool {
    coverage.is_partial || !coverage.passed.is_empty()
}

fn put_ranges(coverage: &Coverage, out: &mut Vec<u8>) {
    out.extend([u8::from(coverage.is_partial), coverage.passed.len() as u8]);
    for (from, to) in &coverage.passed {
        encode_varint(*from, out);
        encode_varint(to.wrapping_sub(*from), out);
    }
}

fn put_time(time: UnixMillis, base: UnixMillis, out: &mut Vec<u8>) {
    put_signed(time.0.wrapping_sub(base.0), out);
}

fn put_signed(value: i64, out: &mut Vec<u8>) {
    encode_varint(((value << 1) ^ (value >> 63)) as u64, out);
}

pub(super) fn decode(mut body: &[u8]) -> Option<ResumeToken> {
    let from = &mut body;
    let name_len = usize::from(byte(from)?);
    let account = AccountName::new(std::str::from_utf8(take(from, name_len)?).ok()?).ok()?;
    let position = Position {
        epoch: Epoch(u128::from_le_bytes(take(from, 16)?.try_into().ok()?)),
        term: Term(fixed(from)?),
        sequence: fixed(from)?,
    };
    let low_watermark = UnixMillis(signed(from)?);
    let start = signed(from)?;
    let filter = fixed(from)?;
    let reached = time(from, low_watermark)?;
    let flags = byte(from)?;
    if flags & !(REPEATS_FOLLOW | PRIVATE_FOLLOWS | SUBSCRIPTION_FROM_FOLLOWS | RANGES_FOLLOW) != 0 {
        return None;
    }
    let repeats_until = if flags & REPEATS_FOLLOW != 0 { Some(time(from, low_watermark)?) } else { None };
    let mut private = if flags & PRIVATE_FOLLOWS != 0 { Some(take_private(from, low_watermark)?) } else { None };
    if flags & RANGES_FOLLOW != 0 {
        take_ranges(from, &mut private.as_mut()?.coverage)?;
    }
    let (subscription_start, subscription_from) = if flags & SUBSCRIPTION_FROM_FOLLOWS == 0 {
        (UnixMillis(start), None)
    } else {
        let back = decode_varint(from).ok().filter(|back| *back < ResumeToken::SUBSCRIPTION_BACK_MAX)?;
        (UnixMillis(low_watermark.0.wrapping_add(start)), Some(position.sequence.wrapping_add(1).wrapping_sub(back)))
    };
    let token = ResumeToken {
        account,
        position,
        low_watermark,
        received_up_to: reached,
        subscription_start,
        subscription_from,
        filter,
        duplicates_until: repeats_until,
        private,
    };
    body.is_empty().then_some(token)
}

fn take_private(from: &mut &[u8], low: UnixMillis) -> Option<PrivateGaps> {
    let tag = u32::from_le_bytes(take(from, 4)?.try_into().ok()?);
    let main_from = decode_varint(from).ok()?;
    let count = byte(from)?;
    let private_gaps = (0..count).map(|_| take_gap(from, low, main_from)).collect::<Option<_>>()?;
    Some(PrivateGaps { tag, coverage: Coverage::from(main_from), private_gaps })
}

fn take_gap(from: &mut &[u8], low: UnixMillis, main_from: Sequence) -> Option<PrivateGap> {
    let head = byte(from)?;
    let cause = *CAUSES.get(usize::from(head & CAUSE_BITS))?;
    let begin = time(from, low)?;
    let span = TimeRange::new(begin, time(from, begin)?);
    let offset = decode_varint(from).ok()?;
    let repeats_until = time(from, begin)?;
    let private_gap = PrivateGap { offset, ..PrivateGap::new(span, cause, repeats_until, main_from) };
    if head & EXTENDED == 0 {
        return Some(PrivateGap { is_restarted: repeats_until >= span.to, ..private_gap });
    }
    Some(PrivateGap {
        since: decode_varint(from).ok()?,
        passed_until: decode_varint(from).ok()?,
        born: decode_varint(from).ok()?,
        is_restarted: head & RESTARTED != 0,
        is_closed: head & CLOSED != 0,
        ..private_gap
    })
}

fn take_ranges(from: &mut &[u8], coverage: &mut Coverage) -> Option<()> {
    coverage.is_partial = byte(from)? != 0;
    let count = byte(from)?;
    let range = |_| {
        let start = decode_varint(from).ok()?;
        Some((start, start.wrapping_add(decode_varint(from).ok()?)))
    };
    coverage.passed = (0..count).map(range).collect::<Option<_>>()?;
    Some(())
}

fn time(from: &mut &[u8], base: UnixMillis) -> Option<UnixMillis> {
    Some(UnixMillis(base.0.wrapping_add(signed(from)?)))
}

fn signed(from: &mut &[u8]) -> Option<i64> {
    let raw = decode_varint(from).ok()?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

fn fixed(from: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(from, 8)?.try_into().ok()?))
}

fn byte(from: &mut &[u8]) -> Option<u8> {
    take(from, 1)?.first().copied()
}

fn take<'a>(from: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(count)?;
    *from = rest;
    Some(taken)
}
