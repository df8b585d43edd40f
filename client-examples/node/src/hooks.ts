import type { Gap } from './gen/powerstream/gateway/v1/gap.js';
import type {
  Draining,
  Heartbeat,
  SessionStart,
  StreamNotice,
  SubscribeResponse,
} from './gen/powerstream/gateway/v1/stream_service.js';

/** A session that ended, or could not be opened. */
export interface Disconnected {
  /** Cause, for people. */
  readonly cause: string;
  /** True if the cause is a frame that proves that events were lost or repeated on the way. */
  readonly isViolation: boolean;
  /** Milliseconds until the next attempt. */
  readonly retryIn: number;
}

/**
 * Callbacks for logs and metrics; the library prints nothing. They run between two frames and delay the stream. An exception
 * of a hook ends the sequence with it. What must not be missed is a frame, not a hook.
 */
export interface Hooks {
  /** A session begins: its id, the version of the gateway, the outcome of the start, and warnings about the request. */
  onConnected?(session: SessionStart): void;
  /** A session ended, or could not be opened; the library reconnects. */
  onDisconnected?(disconnected: Disconnected): void;
  /** At least once per heartbeat interval: `lagRecords`, `lag`, `lowWatermark`, and the state of the upstream. */
  onHeartbeat?(heartbeat: Heartbeat): void;
  /** A gap opened, changed or closed; also the gaps that are open at the start of a session. */
  onGap?(gap: Gap): void;
  /** The state of the upstream or the rules of the account changed. */
  onNotice?(notice: StreamNotice): void;
  /** The gateway ends this session soon; the library reconnects. */
  onDraining?(draining: Draining): void;
}

/** @internal */
export function callHooks(hooks: Hooks, { frame }: SubscribeResponse): void {
  switch (frame?.$case) {
    case 'sessionStart':
      hooks.onConnected?.(frame.value);
      for (const gap of frame.value.openGaps) {
        hooks.onGap?.(gap);
      }
      break;
    case 'heartbeat':
      hooks.onHeartbeat?.(frame.value);
      break;
    case 'gapNotice':
      if (frame.value.gap !== undefined) {
        hooks.onGap?.(frame.value.gap);
      }
      break;
    case 'streamNotice':
      hooks.onNotice?.(frame.value);
      break;
    case 'draining':
      hooks.onDraining?.(frame.value);
      break;
    default:
      break;
  }
}
