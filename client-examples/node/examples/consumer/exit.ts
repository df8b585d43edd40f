import { PositionError, RefusedError, StoppedError, ViolationError } from 'powerstream-consumer';

/** Exit codes, as the gateway's own commands have them. */
export enum Exit {
  DONE = 0,
  FAILED = 1,
  USAGE = 2,
  UNSOUND = 3,
  REFUSED = 4,
  POSITION = 5,
}

/** The flags or the environment are invalid. */
export class UsageError extends Error {}

export function exitOf(error: unknown): Exit {
  if (error instanceof PositionError) {
    return Exit.POSITION;
  }
  if (error instanceof RefusedError) {
    return Exit.REFUSED;
  }
  if (error instanceof ViolationError) {
    return Exit.UNSOUND;
  }
  return error instanceof UsageError || error instanceof StoppedError ? Exit.USAGE : Exit.FAILED;
}

/** The line that ends the process, with the flag that helps. */
export function lineOf(error: unknown): string {
  const advice = error instanceof PositionError && error.reason === 'POSITION_TOO_OLD';
  const text = error instanceof Error ? error.message : String(error);
  return `error: ${text}${advice ? '; --resume-policy earliest or latest continues without them' : ''}`;
}
