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
  WarningCode,
} from './gen/powerstream/gateway/v1/stream_service.js';
import type { Disconnected } from './hooks.js';
import type { Frame } from './frame.js';
import type { TimeInterval } from './gen/powerstream/gateway/v1/time_interval.js';

/** Describes a frame for people, a line for each fact. Empty for events and for progress. */
export function describe(frame: Frame): string[] {
  switch (frame.kind) {
    case 'batch':
    case 'progress':
      return [];
    case 'gap':
      return [gap(frame.gap)];
    case 'missing':
      return frame.intervals.map((missing) => `missing: ${interval(missing)}`);
    case 'skipped':
      return [skipped(frame.skipped)];
    case 'rulesChanged':
      return [`upstream rules changed: ${frame.message}`];
    case 'caughtUp':
      return ['caught up: live from here'];
    case 'fellBehind':
      return [`fell behind by ${frame.lag.lagRecords.toString()} records: late, nothing is lost`];
  }
}

/** Describes the start of a session, and warnings about the request. */
export function describeSession(start: SessionStart): string[] {
  const outcome = name(StartOutcome, start.outcome, 'START_OUTCOME_');
  return [
    `session ${start.sessionId} with gateway ${start.serverVersion} on account ${start.account}: ${outcome}`,
    ...start.warnings.map(({ code, message }) => `warning (${name(WarningCode, code, 'WARNING_CODE_')}): ${message}`),
  ];
}

/** Describes a change of the upstream or of the rules. */
export function describeNotice(notice: StreamNotice): string {
  const kind = name(StreamNoticeKind, notice.kind, 'STREAM_NOTICE_KIND_').replace(/^upstream /, '');
  return `upstream ${kind}: ${notice.message}`;
}

/** Describes the announced end of a session. */
export function describeDraining(draining: Draining): string {
  return `draining (${name(DrainReason, draining.reason, 'DRAIN_REASON_')}): the gateway ends this session soon`;
}

/** Describes a disconnect and the delay before the next attempt. */
export function describeDisconnected({ cause, isViolation, retryIn }: Disconnected): string {
  return `${isViolation ? '' : 'disconnected: '}${cause}; reconnecting in ${(retryIn / 1_000).toFixed(1)} s`;
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
  return `skipped ${skipped.count.toString()} (${reason}) ${interval(skipped.interval)}: they cannot be delivered`;
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
