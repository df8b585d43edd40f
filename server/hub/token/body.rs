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

use super::resume_token::ResumeToken;
use crate::codec::{ByteReader, DecodeError, put_signed, put_varint};
use crate::hub::side_log::{PrivateGap, PrivateGaps, SubscriptionCoverage};
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
    put_signed(out, low.0);
    let subscription_back = token.subscription_back();
    match subscription_back {
        Some(_) => put_time(token.subscription_start, low, out),
        None => put_signed(out, token.subscription_start.0),
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
        put_varint(out, back);
    }
}

fn put_private(private: &PrivateGaps, low: UnixMillis, out: &mut Vec<u8>) {
    out.extend_from_slice(&private.tag.to_le_bytes());
    put_varint(out, private.coverage.main_log_from);
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
    put_varint(out, *offset);
    put_time(*repeats_until, span.from, out);
    [since, passed_until, born].into_iter().for_each(|number| put_varint(out, *number));
}

fn has_ranges(coverage: &SubscriptionCoverage) -> bool {
    coverage.is_partial || !coverage.passed.is_empty()
}

fn put_ranges(coverage: &SubscriptionCoverage, out: &mut Vec<u8>) {
    out.extend([u8::from(coverage.is_partial), coverage.passed.len() as u8]);
    for (from, to) in &coverage.passed {
        put_varint(out, *from);
        put_varint(out, to.wrapping_sub(*from));
    }
}

fn put_time(time: UnixMillis, base: UnixMillis, out: &mut Vec<u8>) {
    put_signed(out, time.0.wrapping_sub(base.0));
}

/// Decodes a body; `None` if it is malformed, which only a gateway with the same key could have signed.
pub(super) fn decode(body: &[u8]) -> Option<ResumeToken> {
    let mut from = ByteReader::new(body);
    let token = take_token(&mut from).ok()?;
    from.is_at_end().then_some(token)
}

fn take_token(from: &mut ByteReader<'_>) -> Result<ResumeToken, DecodeError> {
    let name_len = usize::from(from.u8()?);
    let account = account(from.take(name_len)?)?;
    let position = Position { epoch: Epoch(from.u128()?), term: Term(from.u64()?), sequence: from.u64()? };
    let low_watermark = UnixMillis(from.signed()?);
    let start = from.signed()?;
    let filter = from.u64()?;
    let reached = time(from, low_watermark)?;
    let flags = from.u8()?;
    if flags & !(REPEATS_FOLLOW | PRIVATE_FOLLOWS | SUBSCRIPTION_FROM_FOLLOWS | RANGES_FOLLOW) != 0 {
        return Err(DecodeError);
    }
    let repeats_until = if flags & REPEATS_FOLLOW != 0 { Some(time(from, low_watermark)?) } else { None };
    let mut private = if flags & PRIVATE_FOLLOWS != 0 { Some(take_private(from, low_watermark)?) } else { None };
    if flags & RANGES_FOLLOW != 0 {
        take_ranges(from, &mut private.as_mut().ok_or(DecodeError)?.coverage)?;
    }
    let (subscription_start, subscription_from) = if flags & SUBSCRIPTION_FROM_FOLLOWS == 0 {
        (UnixMillis(start), None)
    } else {
        let back = Some(from.varint()?).filter(|back| *back < ResumeToken::SUBSCRIPTION_BACK_MAX).ok_or(DecodeError)?;
        (UnixMillis(low_watermark.0.wrapping_add(start)), Some(position.sequence.wrapping_add(1).wrapping_sub(back)))
    };
    Ok(ResumeToken {
        account,
        position,
        low_watermark,
        received_up_to: reached,
        subscription_start,
        subscription_from,
        filter,
        duplicates_until: repeats_until,
        private,
    })
}

fn account(name: &[u8]) -> Result<AccountName, DecodeError> {
    let name = std::str::from_utf8(name).map_err(|_| DecodeError)?;
    AccountName::new(name).map_err(|_| DecodeError)
}

fn take_private(from: &mut ByteReader<'_>, low: UnixMillis) -> Result<PrivateGaps, DecodeError> {
    let tag = from.u32()?;
    let main_from = from.varint()?;
    let count = from.u8()?;
    let private_gaps = (0..count).map(|_| take_gap(from, low, main_from)).collect::<Result<_, _>>()?;
    Ok(PrivateGaps { tag, coverage: SubscriptionCoverage::from(main_from), private_gaps })
}

fn take_gap(from: &mut ByteReader<'_>, low: UnixMillis, main_from: Sequence) -> Result<PrivateGap, DecodeError> {
    let head = from.u8()?;
    let cause = *CAUSES.get(usize::from(head & CAUSE_BITS)).ok_or(DecodeError)?;
    let begin = time(from, low)?;
    let span = TimeRange::new(begin, time(from, begin)?);
    let offset = from.varint()?;
    let repeats_until = time(from, begin)?;
    let private_gap = PrivateGap { offset, ..PrivateGap::new(span, cause, repeats_until, main_from) };
    if head & EXTENDED == 0 {
        return Ok(PrivateGap { is_restarted: repeats_until >= span.to, ..private_gap });
    }
    Ok(PrivateGap {
        since: from.varint()?,
        passed_until: from.varint()?,
        born: from.varint()?,
        is_restarted: head & RESTARTED != 0,
        is_closed: head & CLOSED != 0,
        ..private_gap
    })
}

fn take_ranges(from: &mut ByteReader<'_>, coverage: &mut SubscriptionCoverage) -> Result<(), DecodeError> {
    coverage.is_partial = from.u8()? != 0;
    let count = from.u8()?;
    let range = |_| -> Result<_, DecodeError> {
        let start = from.varint()?;
        Ok((start, start.wrapping_add(from.varint()?)))
    };
    coverage.passed = (0..count).map(range).collect::<Result<_, DecodeError>>()?;
    Ok(())
}

fn time(from: &mut ByteReader<'_>, base: UnixMillis) -> Result<UnixMillis, DecodeError> {
    Ok(UnixMillis(base.0.wrapping_add(from.signed()?)))
}
