import type { Event } from './gen/powerstream/gateway/v1/event.js';
import type { Gap } from './gen/powerstream/gateway/v1/gap.js';
import type {
  FellBehind,
  Phase,
  RulesChange,
  Skipped,
  SubscribeResponse,
} from './gen/powerstream/gateway/v1/stream_service.js';
import type { TimeInterval } from './gen/powerstream/gateway/v1/time_interval.js';

/** An event that a handler of `run` could not process. */
export interface DeadLetter {
  /** The event. */
  readonly event: Event;
  /** Cause of the `PoisonError`, for people. */
  readonly reason: string;
}

/** Events in log order. */
export interface BatchFrame {
  readonly kind: 'batch';
  /** The events. Each has a `postId`, `tags`, and the payload in `json`, byte for byte as X sent it. */
  readonly events: readonly Event[];
  /** Delivery phase of the session. */
  readonly phase: Phase;
  /** True if some events were perhaps delivered before: process them idempotently, by `postId`. */
  readonly possibleDuplicate: boolean;
  /** Events of this batch that `run` has removed from `events`: store them in the same transaction. Empty without `run`. */
  readonly deadLetters: readonly DeadLetter[];
  readonly token: string | undefined;
}

/**
 * A gap of the upstream was detected or has changed. Posts are lost if it is `closed` and not `complete`. A gap that is open at
 * the start of a session is reported again: store gaps by `gapId`.
 */
export interface GapFrame {
  readonly kind: 'gap';
  /** The gap with its new state. */
  readonly gap: Gap;
  readonly token: string | undefined;
}

/** Intervals that are not delivered, because the resume policy omitted them. */
export interface MissingFrame {
  readonly kind: 'missing';
  /** The intervals, in order. A start that is absent is not known. */
  readonly intervals: readonly TimeInterval[];
  readonly token: string | undefined;
}

/** Messages or records that cannot be delivered. */
export interface SkippedFrame {
  readonly kind: 'skipped';
  /** Number, reason and interval of their arrival. */
  readonly skipped: Skipped;
  readonly token: string | undefined;
}

/** The rules of the account changed. */
export interface RulesChangedFrame {
  readonly kind: 'rulesChanged';
  /** Description for people. */
  readonly message: string;
  /** The change. */
  readonly change: RulesChange;
  /** Tags of the filter that lost their last rule: no new post will have them. */
  readonly orphanedTags: readonly string[];
  readonly token: string | undefined;
}

/** The subscription reached the newest events. */
export interface CaughtUpFrame {
  readonly kind: 'caughtUp';
  readonly token: string | undefined;
}

/** The subscription is late; no event is lost. */
export interface FellBehindFrame {
  readonly kind: 'fellBehind';
  /** How late. */
  readonly lag: FellBehind;
  readonly token: string | undefined;
}

/** The position moved without an event: only the token is to be stored. */
export interface ProgressFrame {
  readonly kind: 'progress';
  readonly token: string;
}

/**
 * Element of the sequence that `Client.subscribe` returns.
 *
 * `token` covers the frame and everything before it: store it in the same transaction as the effect of the frame. `undefined`
 * means that the position has not changed; a later frame has the token.
 */
export type Frame =
  | BatchFrame
  | GapFrame
  | MissingFrame
  | SkippedFrame
  | RulesChangedFrame
  | CaughtUpFrame
  | FellBehindFrame
  | ProgressFrame;

/**
 * Returns the frames of a response. That with the token is the last one, so that nothing is confirmed before it was handled.
 * @internal
 */
export function framesOf({ frame, resumeToken }: SubscribeResponse): Frame[] {
  const token = resumeToken === '' ? undefined : resumeToken;
  const progress: Frame[] = token === undefined ? [] : [{ kind: 'progress', token }];
  switch (frame?.$case) {
    case 'sessionStart': {
      const { missing, openGaps } = frame.value;
      const intervals: Frame[] = missing.length === 0 ? [] : [{ kind: 'missing', intervals: missing, token: undefined }];
      return [...intervals, ...openGaps.map((gap): Frame => ({ kind: 'gap', gap, token: undefined })), ...progress];
    }
    case 'eventBatch': {
      const { events, phase, possibleDuplicate } = frame.value;
      return [{ kind: 'batch', events, phase, possibleDuplicate, deadLetters: [], token }];
    }
    case 'gapNotice':
      return frame.value.gap === undefined ? progress : [{ kind: 'gap', gap: frame.value.gap, token }];
    case 'skipped':
      return [{ kind: 'skipped', skipped: frame.value, token }];
    case 'caughtUp':
      return [{ kind: 'caughtUp', token }];
    case 'fellBehind':
      return [{ kind: 'fellBehind', lag: frame.value, token }];
    case 'streamNotice': {
      const { message, ruleChange: change, orphanedTags } = frame.value;
      return change === undefined ? progress : [{ kind: 'rulesChanged', message, change, orphanedTags, token }];
    }
    default:
      // Heartbeat, Draining, and kinds that this version does not know: they contain no event.
      return progress;
  }
}
