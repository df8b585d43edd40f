import type { Event } from './gen/powerstream/gateway/v1/event.js';
import type { Frame } from './frame.js';

/**
 * The sequence has ended, because a retry would fail again: what PROTOCOL.md calls STOPPED.
 * Its subclasses state what an operator has to change.
 */
export abstract class StoppedError extends Error {
  /** Reason of the gateway, such as `TAG_DENIED`. Empty if the cause was found before a request was sent. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(reason === '' ? message : `${reason}: ${message}`);
    this.name = new.target.name;
    this.reason = reason;
  }
}

/** The request or the options are invalid: the program or its configuration has to change. */
export class InvalidError extends StoppedError {}

/** The gateway rejects the caller: the credential or its rights have to change. */
export class RefusedError extends StoppedError {}

/** The position cannot be served: too old, malformed, or of another account or log. */
export class PositionError extends StoppedError {}

/** Events were missing, repeated or out of order too often: an operator has to investigate. */
export class ViolationError extends StoppedError {
  constructor(message: string) {
    super('UNSOUND', message);
  }
}

/** Thrown by a handler of `run`: a further attempt would fail too. `run` rejects with it. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** Thrown by a handler of `run` for an event that it cannot process: see `RunOptions.deadLetter`. */
export class PoisonError extends Error {
  override readonly name = 'PoisonError';

  /**
   * @param event - the event, an element of `events` of the batch
   * @param cause - why it cannot be processed
   */
  constructor(
    readonly event: Event,
    cause: unknown,
  ) {
    super(`post ${event.postId.toString()} cannot be processed: ${textOf(cause)}`, { cause });
  }
}

/**
 * `run` was stopped while its handler had a frame in hand, and the handler failed or took longer than `RunOptions.stopTimeout`.
 * The frame is delivered again.
 */
export class UnfinishedError extends Error {
  override readonly name = 'UnfinishedError';

  /**
   * @param frame - the frame in hand
   * @param cause - the error of the handler, if it failed
   */
  constructor(
    readonly frame: Frame,
    cause?: unknown,
  ) {
    const why = cause === undefined ? 'the handler takes longer than the timeout' : textOf(cause);
    super(`stopped with an unfinished frame (${frame.kind}), which is delivered again: ${why}`, { cause });
  }
}

/** @internal */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
