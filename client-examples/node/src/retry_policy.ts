import { status } from '@grpc/grpc-js';

import { InvalidError, PositionError, RefusedError, ViolationError, type StoppedError } from './errors.js';
import { UNSOUND_MAX } from './limits.js';

/** A status that a call ended with. */
export interface StatusEnding {
  how: 'status';
  code: status;
  text: string;
  /** The gateway's own; that of a proxy counts as none. */
  reason?: string;
  /** `RetryInfo.retry_delay` in milliseconds. */
  retryDelay?: number | undefined;
}

/** How a session ended, or the attempt to open one. */
export type Ending =
  | StatusEnding
  | { how: 'silence'; seconds: number }
  | { how: 'unreadable'; text: string }
  | { how: 'unsound'; text: string; times: number };

/** What this process knows about its credential. */
export type CredentialState = 'none' | 'same' | 'changed';

export type Decision =
  | { next: 'BACK_OFF'; cause: string; retryDelay?: number | undefined }
  | { next: 'STOPPED'; error: StoppedError };

type StoppedClass = typeof InvalidError | typeof RefusedError | typeof PositionError;

/** The table "Decide" of PROTOCOL.md: by the reason; by the code only where the reason is not known. */
export function decide(ending: Ending, credential: CredentialState): Decision {
  switch (ending.how) {
    case 'silence':
      return { next: 'BACK_OFF', cause: `no frame for ${ending.seconds} s` };
    case 'unreadable':
      return { next: 'BACK_OFF', cause: ending.text };
    case 'unsound':
      return ending.times < UNSOUND_MAX
        ? { next: 'BACK_OFF', cause: `UNSOUND: ${ending.text}` }
        : { next: 'STOPPED', error: new ViolationError(ending.text) };
    case 'status':
      break;
  }
  const { reason, code, text, retryDelay } = ending;
  if (reason === undefined) {
    return { next: 'BACK_OFF', cause: text, retryDelay };
  }
  const Stopped = stoppedBy(reason, code, credential);
  return Stopped === undefined
    ? { next: 'BACK_OFF', cause: `${reason}: ${text}`, retryDelay }
    : { next: 'STOPPED', error: new Stopped(reason, text) };
}

/** The error for this reason; undefined if a retry may succeed. */
function stoppedBy(reason: string, code: status, credential: CredentialState): StoppedClass | undefined {
  switch (reason) {
    case 'DRAINING':
    case 'SESSION_ROTATED':
    case 'SESSION_TERMINATED':
    case 'RIGHTS_CHANGED':
    case 'AUTH_UNAVAILABLE':
    case 'NOT_LEADER':
    case 'NOT_READY':
    case 'SESSION_LIMIT':
    case 'CONNECTION_LIMIT':
    case 'CALL_LIMIT':
    case 'RECOVERY_LIMIT':
    case 'FILTER_LIMIT':
    case 'REPLAY_LIMIT':
    case 'CONSUMER_TOO_SLOW':
    case 'STREAM_DEADLINE':
    case 'INTERNAL':
      return undefined;
    case 'CREDENTIALS_EXPIRED':
      return credential === 'none' ? RefusedError : undefined;
    case 'CREDENTIALS_MISSING':
    case 'CREDENTIALS_INVALID':
    case 'CREDENTIALS_REVOKED':
      return credential === 'changed' ? undefined : RefusedError;
    case 'ACCESS_DENIED':
    case 'ACCESS_REVOKED':
    case 'TAG_DENIED':
      return RefusedError;
    case 'ACCOUNT_REQUIRED':
    case 'FILTER_INVALID':
    case 'START_INVALID':
      return InvalidError;
    case 'POSITION_TOO_OLD':
    case 'POSITION_IN_FUTURE':
    case 'TOKEN_INVALID':
    case 'TOKEN_ACCOUNT_MISMATCH':
    case 'EXACT_UNAVAILABLE':
      return PositionError;
    default:
      return stoppedByCode(reason, code);
  }
}

function stoppedByCode(reason: string, code: status): StoppedClass | undefined {
  // A newer gateway may have further reasons to refuse a credential.
  if (reason.startsWith('CREDENTIALS_')) {
    return RefusedError;
  }
  switch (code) {
    case status.INVALID_ARGUMENT:
    case status.NOT_FOUND:
    case status.FAILED_PRECONDITION:
    case status.UNIMPLEMENTED:
      return InvalidError;
    case status.OUT_OF_RANGE:
      return PositionError;
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
      return RefusedError;
    default:
      return undefined;
  }
}
