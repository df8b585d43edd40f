import { GapCause, GapState, type Gap } from './gen/powerstream/gateway/v1/gap.js';
import {
  DrainReason,
  SkipReason,
  StartOutcome,
  StreamNoticeKind,
  type Draining,
  type SessionStart,
  type Skipped,
  type StreamNotice,
  type SubscribeResponse,
  WarningCode,
} from './gen/powerstream/gateway/v1/stream_service.js';
import type { TimeInterval } from './gen/powerstream/gateway/v1/time_interval.js';

/** Describes a frame for people, a line for each fact. */
export function wordsOf({ frame }: SubscribeResponse): string[] {
  switch (frame?.$case) {
    case 'sessionStart':
      return sessionStart(frame.value);
    case 'caughtUp':
      return ['caught up: live from here'];
    case 'fellBehind':
      return [`fell behind by ${frame.value.lagRecords} records: late, nothing is lost`];
    case 'gapNotice':
      return frame.value.gap === undefined ? [] : [gap(frame.value.gap)];
    case 'skipped':
      return [skipped(frame.value)];
    case 'streamNotice':
      return [streamNotice(frame.value)];
    case 'draining':
      return [draining(frame.value)];
    default:
      return [];
  }
}

function sessionStart(start: SessionStart): string[] {
  const outcome = name(StartOutcome, start.outcome, 'START_OUTCOME_');
  const lines = [
    `session ${start.sessionId} with gateway ${start.serverVersion} on account ${start.account}: ${outcome}`,
  ];
  lines.push(...start.missing.map((missing) => `missing: ${interval(missing)}`));
  for (const { code, message } of start.warnings) {
    lines.push(`warning (${name(WarningCode, code, 'WARNING_CODE_')}): ${message}`);
  }
  lines.push(...start.openGaps.map(gap));
  return lines;
}

function gap(gap: Gap): string {
  const whose = gap.private ? ' of this consumer' : '';
  const state = name(GapState, gap.state, 'GAP_STATE_');
  const cause = name(GapCause, gap.cause, 'GAP_CAUSE_');
  return `gap ${gap.gapId}${whose} ${state}: ${interval(gap.interval)} (${cause}): ${result(gap)}`;
}

/** Not by the state: a newer gateway may have further states. */
function result({ closed, complete }: Gap): string {
  if (complete) {
    return 'every missing post was delivered';
  }
  return closed ? 'POSTS ARE LOST' : 'posts may be missing';
}

function skipped(skipped: Skipped): string {
  const reason = name(SkipReason, skipped.reason, 'SKIP_REASON_');
  return `skipped ${skipped.count} (${reason}) ${interval(skipped.interval)}: they cannot be delivered`;
}

function streamNotice(notice: StreamNotice): string {
  const kind = name(StreamNoticeKind, notice.kind, 'STREAM_NOTICE_KIND_').replace(/^upstream /, '');
  return `upstream ${kind}: ${notice.message}`;
}

function draining(draining: Draining): string {
  const reason = name(DrainReason, draining.reason, 'DRAIN_REASON_');
  return `draining (${reason}): the gateway ends this session soon`;
}

/** An enum's value without its prefix, as words; the number where it is unknown. */
function name(names: Record<number, string>, value: number, prefix: string): string {
  return names[value]?.replace(prefix, '').toLowerCase().replaceAll('_', ' ') ?? String(value);
}

function interval(interval: TimeInterval | undefined): string {
  return `from ${instant(interval?.startTime, 'an unknown time')} to ${instant(interval?.endTime, 'now')}`;
}

function instant(time: Date | undefined, absent: string): string {
  if (time === undefined) {
    return absent;
  }
  return Number.isNaN(time.getTime()) ? 'a time out of range' : time.toISOString();
}
