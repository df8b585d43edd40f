//! Encoding of a record in the payload of a block. Its sequence and term follow from the block, its rules are numbers
//! in the block's table. The rules of a RULES record are not: the table shows which posts a block has.
//!
//! ```text
//! record  = kind:u8 received:signed varint (ms after the block's first) body
//! post    = id:u64 origin:u8 (bit 7: a gap follows, bit 6: counterpart follows, bit 5: its rules follow, bit 4: previous follows)
//!           [gap:varint] [counterpart:varint] [its rules set:varint] [previous:varint] set:varint length:varint json
//! delta   = prior set:varint post
//! gap     = id:varint window cause:u8 state:u8 evidence:u8 progress recovered:varint
//! skip    = reason:u8 count:varint window
//! rules   = revision:varint cause:u8 effective_by:i64 added removed orphaned
//! added, removed = count:varint (rule = flags:u8 (bit 0: an id follows, bit 1: a tag follows) [id:varint] [tag])*
//! orphaned       = count:varint tag*        tag = length:varint utf8
//! window  = from:i64 to          to, progress = 0:u8 | 1:u8 time:i64
//! ```

use std::sync::Arc;

use bytes::Bytes;

use super::rule_table::{RuleTable, RuleTableBuilder};
use crate::codec::{ByteReader, DecodeError, put_signed, put_varint};
use crate::model::{
    Gap, GapCause, GapEvidence, GapId, GapState, Origin, Post, PostId, Record, RecordBody, Rule, RulesCause,
    RulesChange, Sequence, Skip, SkipReason, TimeInterval, UnixMillis,
};

const POST: u8 = 1;
const DELTA: u8 = 2;
const GAP: u8 = 3;
const SKIP: u8 = 4;
const TERM: u8 = 5;
/// Since format version 2.
const RULES: u8 = 6;

const GAP_FOLLOWS: u8 = 0x80;
const HAS_COUNTERPART: u8 = 0x40;
const COUNTERPART_RULES_FOLLOW: u8 = 0x20;
const PREVIOUS_FOLLOWS: u8 = 0x10;

const ID_FOLLOWS: u8 = 1;
const TAG_FOLLOWS: u8 = 2;

// Positions in these lists are stored on disk: append only.
const ORIGINS: [Origin; 3] = [Origin::Live, Origin::Backfill, Origin::Recovery];
const CAUSES: [GapCause; 11] = [
    GapCause::Disconnected,
    GapCause::Stale,
    GapCause::SlowReader,
    GapCause::GatewayDown,
    GapCause::JournalUnavailable,
    GapCause::JournalCorrupt,
    GapCause::Trimmed,
    GapCause::LogLost,
    GapCause::TooManyConnections,
    GapCause::UsageCapped,
    GapCause::InvalidRules,
];
const STATES: [GapState; 5] =
    [GapState::Detected, GapState::Recovering, GapState::Backfilled, GapState::Recovered, GapState::Unrecoverable];
const EVIDENCES: [GapEvidence; 10] = [
    GapEvidence::None,
    GapEvidence::CompletionMessage,
    GapEvidence::CleanEof,
    GapEvidence::BackfillQuiet,
    GapEvidence::WindowPassed,
    GapEvidence::Refused,
    GapEvidence::NothingDue,
    GapEvidence::CountMismatch,
    GapEvidence::Unproven,
    GapEvidence::PostOrder,
];
const REASONS: [SkipReason; 4] =
    [SkipReason::Malformed, SkipReason::Oversized, SkipReason::JournalCorrupt, SkipReason::ForeignFormat];
const RULES_CAUSES: [RulesCause; 3] = [RulesCause::Files, RulesCause::Call, RulesCause::Elsewhere];

fn code<T: PartialEq>(list: &[T], value: &T) -> u8 {
    list.iter().position(|it| it == value).expect("every value of the enum is in its list") as u8
}

fn value<T: Copy>(list: &[T], code: u8) -> Result<T, DecodeError> {
    list.get(usize::from(code)).copied().ok_or(DecodeError)
}

/// Appends a record to a payload.
pub(super) fn encode(record: &Record, base: UnixMillis, table: &mut RuleTableBuilder, out: &mut Vec<u8>) {
    out.push(match &record.body {
        RecordBody::Post(_) => POST,
        RecordBody::Delta { .. } => DELTA,
        RecordBody::Gap(_) => GAP,
        RecordBody::Skip(_) => SKIP,
        RecordBody::Term => TERM,
        RecordBody::Rules(_) => RULES,
    });
    put_signed(out, record.received.0.wrapping_sub(base.0));
    match &record.body {
        RecordBody::Post(post) => encode_post(post, table, out),
        RecordBody::Delta { prior, post } => {
            put_varint(out, u64::from(table.set(prior)));
            encode_post(post, table, out);
        }
        RecordBody::Gap(gap) => encode_gap(gap, out),
        RecordBody::Skip(skip) => {
            out.push(code(&REASONS, &skip.reason));
            put_varint(out, skip.count);
            encode_window(skip.window, out);
        }
        RecordBody::Term => {}
        RecordBody::Rules(change) => encode_change(change, out),
    }
}

fn encode_post(post: &Post, table: &mut RuleTableBuilder, out: &mut Vec<u8>) {
    out.extend_from_slice(&post.id.0.to_le_bytes());
    let gap = if post.gap.is_some() { GAP_FOLLOWS } else { 0 };
    let has_counterpart = if post.counterpart.is_some() { HAS_COUNTERPART } else { 0 };
    let counterpart_rules = if post.counterpart_rules.is_some() { COUNTERPART_RULES_FOLLOW } else { 0 };
    let previous = if post.previous.is_some() { PREVIOUS_FOLLOWS } else { 0 };
    out.push(code(&ORIGINS, &post.origin) | gap | has_counterpart | counterpart_rules | previous);
    let counterpart_set = post.counterpart_rules.as_ref().map(|rules| u64::from(table.set(rules)));
    for number in [post.gap.map(|gap| gap.0), post.counterpart, counterpart_set, post.previous].into_iter().flatten() {
        put_varint(out, number);
    }
    put_varint(out, u64::from(table.set(&post.rules)));
    put_varint(out, post.json.len() as u64);
    out.extend_from_slice(&post.json);
}

fn encode_gap(gap: &Gap, out: &mut Vec<u8>) {
    put_varint(out, gap.id.0);
    encode_window(gap.window, out);
    out.extend([code(&CAUSES, &gap.cause), code(&STATES, &gap.state), code(&EVIDENCES, &gap.evidence)]);
    encode_time(gap.progress, out);
    put_varint(out, gap.recovered);
}

fn encode_change(change: &RulesChange, out: &mut Vec<u8>) {
    put_varint(out, change.revision);
    out.push(code(&RULES_CAUSES, &change.cause));
    out.extend_from_slice(&change.effective_by.0.to_le_bytes());
    for rules in [&change.added, &change.removed] {
        put_varint(out, rules.len() as u64);
        for rule in rules.iter() {
            let id = if rule.id.is_some() { ID_FOLLOWS } else { 0 };
            let tag = if rule.tag.is_some() { TAG_FOLLOWS } else { 0 };
            out.push(id | tag);
            rule.id.into_iter().for_each(|id| put_varint(out, id));
            rule.tag.iter().for_each(|tag| encode_tag(tag, out));
        }
    }
    put_varint(out, change.orphaned_tags.len() as u64);
    change.orphaned_tags.iter().for_each(|tag| encode_tag(tag, out));
}

fn encode_tag(tag: &str, out: &mut Vec<u8>) {
    put_varint(out, tag.len() as u64);
    out.extend_from_slice(tag.as_bytes());
}

fn encode_window(window: TimeInterval, out: &mut Vec<u8>) {
    out.extend_from_slice(&window.from.0.to_le_bytes());
    encode_time(window.to, out);
}

fn encode_time(time: Option<UnixMillis>, out: &mut Vec<u8>) {
    out.push(u8::from(time.is_some()));
    if let Some(time) = time {
        out.extend_from_slice(&time.0.to_le_bytes());
    }
}

/// Context for decoding a record.
pub(super) struct DecodeContext<'a> {
    /// Payload of the block; the JSON of its posts is a slice of it.
    pub(super) payload: &'a Bytes,
    /// Rules of the block.
    pub(super) table: &'a RuleTable,
    /// Receive time of the block's first record.
    pub(super) base: UnixMillis,
}

/// Header of a record: enough to skip it.
pub(super) struct RecordHeader {
    /// Receive time.
    pub(super) received: UnixMillis,
    /// Set of rules of a POST or DELTA (of `now`), else `None`.
    pub(super) set: Option<usize>,
    /// True if it is a GAP, a SKIP or a RULES.
    pub(super) notice: bool,
}

/// Reads the header and moves to the next record.
pub(super) fn preview(input: &mut ByteReader<'_>, base: UnixMillis) -> Result<RecordHeader, DecodeError> {
    let kind = input.u8()?;
    let received = UnixMillis(base.0.wrapping_add(input.signed()?));
    let mut set = None;
    match kind {
        POST | DELTA => {
            if kind == DELTA {
                input.varint()?;
            }
            let head = decode_head(input)?;
            input.take(head.length)?;
            set = Some(head.set);
        }
        GAP => {
            decode_gap(input)?;
        }
        SKIP => {
            decode_skip(input)?;
        }
        TERM => {}
        RULES => {
            decode_change(input)?;
        }
        _ => return Err(DecodeError),
    }
    Ok(RecordHeader { received, set, notice: matches!(kind, GAP | SKIP | RULES) })
}

/// Reads a record.
pub(super) fn decode(
    input: &mut ByteReader<'_>,
    source: &DecodeContext<'_>,
) -> Result<(UnixMillis, RecordBody), DecodeError> {
    let kind = input.u8()?;
    let received = UnixMillis(source.base.0.wrapping_add(input.signed()?));
    let body = match kind {
        POST => RecordBody::Post(decode_post(input, source)?),
        DELTA => {
            let number = usize::try_from(input.varint()?).map_err(|_| DecodeError)?;
            let prior = source.table.sets.get(number).ok_or(DecodeError)?.clone();
            RecordBody::Delta { prior, post: decode_post(input, source)? }
        }
        GAP => RecordBody::Gap(decode_gap(input)?),
        SKIP => RecordBody::Skip(decode_skip(input)?),
        TERM => RecordBody::Term,
        RULES => RecordBody::Rules(Arc::new(decode_change(input)?)),
        _ => return Err(DecodeError),
    };
    Ok((received, body))
}

/// Fields before the payload of a post.
struct PostHeader {
    id: PostId,
    origin: Origin,
    gap: Option<GapId>,
    counterpart_at: Option<Sequence>,
    counterpart_set: Option<usize>,
    previous: Option<Sequence>,
    set: usize,
    length: usize,
}

fn decode_head(input: &mut ByteReader<'_>) -> Result<PostHeader, DecodeError> {
    let id = PostId(input.u64()?);
    let flags = input.u8()?;
    let gap = if flags & GAP_FOLLOWS != 0 { Some(GapId(input.varint()?)) } else { None };
    let counterpart_at = if flags & HAS_COUNTERPART != 0 { Some(input.varint()?) } else { None };
    let counterpart_set = if flags & COUNTERPART_RULES_FOLLOW != 0 { Some(decode_set(input)?) } else { None };
    let previous = if flags & PREVIOUS_FOLLOWS != 0 { Some(input.varint()?) } else { None };
    let origin =
        value(&ORIGINS, flags & !(GAP_FOLLOWS | HAS_COUNTERPART | COUNTERPART_RULES_FOLLOW | PREVIOUS_FOLLOWS))?;
    let set = decode_set(input)?;
    Ok(PostHeader { id, origin, gap, counterpart_at, counterpart_set, previous, set, length: input.count()? })
}

fn decode_post(input: &mut ByteReader<'_>, source: &DecodeContext<'_>) -> Result<Post, DecodeError> {
    let PostHeader { id, origin, gap, counterpart_at, counterpart_set, previous, set, length } = decode_head(input)?;
    let rules_of = |set: usize| source.table.sets.get(set).cloned().ok_or(DecodeError);
    let (rules, counterpart_rules) = (rules_of(set)?, counterpart_set.map(rules_of).transpose()?);
    let start = input.at();
    input.take(length)?;
    let json = source.payload.slice(start..start + length);
    Ok(Post { id, rules, origin, gap, counterpart: counterpart_at, counterpart_rules, previous, json })
}

fn decode_set(input: &mut ByteReader<'_>) -> Result<usize, DecodeError> {
    usize::try_from(input.varint()?).map_err(|_| DecodeError)
}

fn decode_gap(input: &mut ByteReader<'_>) -> Result<Gap, DecodeError> {
    Ok(Gap {
        id: GapId(input.varint()?),
        window: decode_window(input)?,
        cause: value(&CAUSES, input.u8()?)?,
        state: value(&STATES, input.u8()?)?,
        evidence: value(&EVIDENCES, input.u8()?)?,
        progress: decode_time(input)?,
        recovered: input.varint()?,
    })
}

fn decode_skip(input: &mut ByteReader<'_>) -> Result<Skip, DecodeError> {
    Ok(Skip { reason: value(&REASONS, input.u8()?)?, count: input.varint()?, window: decode_window(input)? })
}

fn decode_change(input: &mut ByteReader<'_>) -> Result<RulesChange, DecodeError> {
    let (revision, cause) = (input.varint()?, value(&RULES_CAUSES, input.u8()?)?);
    let effective_by = UnixMillis(input.i64()?);
    let (added, removed) = (decode_rules(input)?, decode_rules(input)?);
    let orphaned_tags = (0..input.varint()?).map(|_| decode_tag(input)).collect::<Result<_, _>>()?;
    Ok(RulesChange { revision, added, removed, orphaned_tags, cause, effective_by })
}

fn decode_rules(input: &mut ByteReader<'_>) -> Result<Arc<[Rule]>, DecodeError> {
    let count = input.varint()?;
    let rule = |_| {
        let flags = input.u8()?;
        if flags & !(ID_FOLLOWS | TAG_FOLLOWS) != 0 {
            return Err(DecodeError);
        }
        let id = if flags & ID_FOLLOWS != 0 { Some(input.varint()?) } else { None };
        let tag = if flags & TAG_FOLLOWS != 0 { Some(decode_tag(input)?) } else { None };
        Ok(Rule { id, tag })
    };
    (0..count).map(rule).collect()
}

fn decode_tag(input: &mut ByteReader<'_>) -> Result<Arc<str>, DecodeError> {
    let length = input.count()?;
    std::str::from_utf8(input.take(length)?).map(Into::into).map_err(|_| DecodeError)
}

fn decode_window(input: &mut ByteReader<'_>) -> Result<TimeInterval, DecodeError> {
    Ok(TimeInterval { from: UnixMillis(input.i64()?), to: decode_time(input)? })
}

fn decode_time(input: &mut ByteReader<'_>) -> Result<Option<UnixMillis>, DecodeError> {
    match input.u8()? {
        0 => Ok(None),
        1 => Ok(Some(UnixMillis(input.i64()?))),
        _ => Err(DecodeError),
    }
}
