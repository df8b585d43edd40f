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
  type TimeInterval,
} from './gen/powerstream/gateway/v1/stream_service.js';

/** What a frame says to a person, a line each. */
export function wordsOf({ frame }: SubscribeResponse): string[] {
  switch (frame?.$case) {
    case 'sessionStart':
      return sessionStart(frame.value);
    case 'caughtUp':
      return ['caught up: live from here'];
    case 'fellBehind':
      return [`fell behind by ${frame.value.lagEvents} records: late, nothing is lost`];
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
  if (start.missing !== undefined) {
    lines.push(`missing: ${interval(start.missing)}`);
  }
  lines.push(...start.warnings.map((warning) => `warning ${warning.code}: ${warning.message}`));
  lines.push(...start.openGaps.map(gap));
  return lines;
}

function gap(gap: Gap): string {
  const whose = gap.private ? ' of this consumer' : '';
  const state = name(GapState, gap.state, 'GAP_STATE_');
  const cause = name(GapCause, gap.cause, 'GAP_CAUSE_');
  return `gap ${gap.gapId}${whose} ${state}: ${interval(gap)} (${cause}): ${meaning(gap.state)}`;
}

function meaning(state: GapState): string {
  switch (state) {
    case GapState.GAP_STATE_BACKFILLED:
    case GapState.GAP_STATE_RECOVERED:
      return 'nothing of it is missing any more';
    case GapState.GAP_STATE_UNRECOVERABLE:
      return 'POSTS ARE LOST';
    default:
      return 'posts may be missing';
  }
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

function interval(interval: Pick<TimeInterval, 'from' | 'to'> | undefined): string {
  return `from ${instant(interval?.from, 'an unknown time')} to ${instant(interval?.to, 'now')}`;
}

function instant(time: Date | undefined, absent: string): string {
  if (time === undefined) {
    return absent;
  }
  return Number.isNaN(time.getTime()) ? 'a time out of range' : time.toISOString();
}
