import { status } from '@grpc/grpc-js';

import { UNSOUND_MAX } from './limits.js';

/** Exit codes, as the gateway's own commands have them. */
export enum Exit {
  DONE = 0,
  FAILED = 1,
  USAGE = 2,
  UNSOUND = 3,
  REFUSED = 4,
  POSITION = 5,
}

/** How a session ended, or the attempt to open one. */
export type Ending =
  | {
      how: 'status';
      code: status;
      text: string;
      /** The gateway's own; that of a proxy counts as none. */
      reason?: string;
      /** `RetryInfo.retry_delay` in milliseconds. */
      retryDelay?: number;
    }
  | { how: 'silence'; seconds: number }
  | { how: 'unreadable'; text: string }
  | { how: 'unsound'; text: string; times: number };

/** What this process knows about its credential. */
export type CredentialState = 'none' | 'same' | 'changed';

export type Decision =
  | { next: 'BACK_OFF'; words: string; retryDelay?: number }
  | { next: 'STOPPED'; exit: Exit; words: string };

/** The table "Decide" of PROTOCOL.md: by the reason; by the code only where the reason is not known. */
export function decide(ending: Ending, credential: CredentialState): Decision {
  switch (ending.how) {
    case 'silence':
      return { next: 'BACK_OFF', words: `disconnected: no frame for ${ending.seconds} s` };
    case 'unreadable':
      return { next: 'BACK_OFF', words: `disconnected: ${ending.text}` };
    case 'unsound':
      return ending.times < UNSOUND_MAX
        ? { next: 'BACK_OFF', words: `UNSOUND: ${ending.text}` }
        : { next: 'STOPPED', exit: Exit.UNSOUND, words: `error: UNSOUND: ${ending.text}` };
    case 'status':
      break;
  }
  const { reason, code, text, retryDelay } = ending;
  if (reason === undefined) {
    return { next: 'BACK_OFF', words: `disconnected: ${text}`, retryDelay };
  }
  const exit = exitOf(reason, code, credential);
  return exit === undefined
    ? { next: 'BACK_OFF', words: `disconnected: ${reason}: ${text}`, retryDelay }
    : { next: 'STOPPED', exit, words: `error: ${reason}: ${text}${advice(reason)}` };
}

/** How the process ends over this reason; undefined if it is worth coming back. */
function exitOf(reason: string, code: status, credential: CredentialState): Exit | undefined {
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
      return credential === 'none' ? Exit.REFUSED : undefined;
    case 'CREDENTIALS_MISSING':
    case 'CREDENTIALS_INVALID':
    case 'CREDENTIALS_REVOKED':
      return credential === 'changed' ? undefined : Exit.REFUSED;
    case 'ACCESS_DENIED':
    case 'ACCESS_REVOKED':
    case 'TAG_DENIED':
      return Exit.REFUSED;
    case 'ACCOUNT_REQUIRED':
    case 'FILTER_INVALID':
    case 'START_INVALID':
      return Exit.USAGE;
    case 'POSITION_TOO_OLD':
    case 'POSITION_IN_FUTURE':
    case 'TOKEN_INVALID':
    case 'TOKEN_ACCOUNT_MISMATCH':
    case 'EXACT_UNAVAILABLE':
      return Exit.POSITION;
    default:
      return exitOfCode(reason, code);
  }
}

function exitOfCode(reason: string, code: status): Exit | undefined {
  // A credential that is refused for a reason of tomorrow is refused all the same.
  if (reason.startsWith('CREDENTIALS_')) {
    return Exit.REFUSED;
  }
  switch (code) {
    case status.INVALID_ARGUMENT:
    case status.NOT_FOUND:
    case status.FAILED_PRECONDITION:
    case status.UNIMPLEMENTED:
      return Exit.USAGE;
    case status.OUT_OF_RANGE:
      return Exit.POSITION;
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
      return Exit.REFUSED;
    default:
      return undefined;
  }
}

function advice(reason: string): string {
  return reason === 'POSITION_TOO_OLD' ? '; --resume-policy earliest or latest continues without them' : '';
}
