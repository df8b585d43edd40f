import { Backoff, pause } from './backoff.js';
import type { Client } from './client.js';
import { PermanentError, PoisonError, textOf, UnfinishedError } from './errors.js';
import type { BatchFrame, DeadLetter, Frame } from './frame.js';
import { STOP_WAIT_MAX } from './limits.js';
import type { SubscribeOptions } from './options.js';

/** What `Client.run` does with a failure of the handler. */
export interface HandlerFailure {
  /** What the handler, or `load`, has thrown. */
  readonly error: unknown;
  /** Failures since the last batch that was handled, this one included. */
  readonly attempt: number;
  /** Milliseconds until the next attempt. */
  readonly retryIn: number;
}

/**
 * A handler with its errors.
 *
 * - `load` and `handle` may fail for a while, as with a database that restarts: `run` waits, at first 250 ms and at most 45 s,
 *   reloads the token, and continues there. Without an end: alert on `onError`.
 * - A {@link PermanentError} ends `run` with it.
 * - A {@link PoisonError} names an event that cannot be processed. With `deadLetter`, the batch is handled again without the
 *   event, which is then in `deadLetters` of the frame, so that it is stored in the same transaction. Without `deadLetter` it
 *   ends `run`.
 */
export interface RunOptions extends Omit<SubscribeOptions, 'token'> {
  /** Returns the stored token; `undefined` at the first start. */
  load(): Promise<string | undefined> | string | undefined;
  /** Stores the effect of the frame and its token, if it has one, in one transaction. Nothing is stored if it rejects. */
  handle(frame: Frame): Promise<void> | void;
  /** Accepts a poison post, once for each; its exception ends `run`. */
  deadLetter?(letter: DeadLetter): Promise<void> | void;
  /** Reports a failure after which `run` continues. */
  onError?(failure: HandlerFailure): void;
  /** Milliseconds that `handle` may take after `signal` was aborted. Default: 5,000. Then `run` rejects with
   * {@link UnfinishedError}. */
  stopTimeout?: number | undefined;
}

/** Failure of the handler, not of the sequence. */
class HandlerError extends Error {
  constructor(override readonly cause: unknown) {
    super(textOf(cause));
  }
}

/** @internal */
export async function runHandler(client: Client, options: RunOptions): Promise<void> {
  const { signal } = options;
  const backoff = new Backoff();
  let attempt = 0;
  const isStopped = (): boolean => signal?.aborted ?? false;
  await client.verifyCredential();
  while (!isStopped()) {
    let inHand: Frame | undefined;
    try {
      const token = await failing(() => options.load());
      for await (const frame of client.subscribe({ ...options, token })) {
        inHand = frame;
        await inTime(handle(frame, options), frame, options);
        inHand = undefined;
        // The frames before a batch are repeated in each session, also if the batch fails every time.
        if (frame.kind === 'batch') {
          backoff.reset();
          attempt = 0;
        }
      }
    } catch (error) {
      if (!(error instanceof HandlerError)) {
        throw error;
      }
      const { cause } = error;
      if (cause instanceof PermanentError || cause instanceof PoisonError) {
        throw cause;
      }
      if (isStopped()) {
        if (inHand === undefined) {
          return;
        }
        throw new UnfinishedError(inHand, cause);
      }
      attempt += 1;
      const retryIn = backoff.next();
      options.onError?.({ error: cause, attempt, retryIn });
      await pause(retryIn, signal);
    }
  }
}

/** Handles the frame; again without each event that is accepted as a dead letter. */
async function handle(frame: Frame, options: RunOptions): Promise<void> {
  for (;;) {
    try {
      await failing(() => options.handle(frame));
      return;
    } catch (error) {
      const poison = error instanceof HandlerError ? error.cause : undefined;
      if (!(poison instanceof PoisonError) || options.deadLetter === undefined || frame.kind !== 'batch') {
        throw error;
      }
      const letter = { event: poison.event, reason: textOf(poison.cause) };
      frame = without(frame, letter);
      await options.deadLetter(letter);
    }
  }
}

function without(frame: BatchFrame, letter: DeadLetter): BatchFrame {
  const events = frame.events.filter((event) => event !== letter.event);
  if (events.length === frame.events.length) {
    // Without it the same batch would be handled for ever.
    throw new TypeError('the event of a PoisonError is an element of `events` of the frame in hand');
  }
  return { ...frame, events, deadLetters: [...frame.deadLetters, letter] };
}

async function failing<T>(work: () => Promise<T> | T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new HandlerError(error);
  }
}

/** Waits for the handler, after a stop for so long only. */
async function inTime(handling: Promise<void>, frame: Frame, options: RunOptions): Promise<void> {
  const { signal, stopTimeout = STOP_WAIT_MAX } = options;
  let timer: NodeJS.Timeout | undefined;
  const unfinished = Promise.withResolvers<never>();
  const onStop = (): void => {
    timer = setTimeout(() => {
      unfinished.reject(new UnfinishedError(frame));
    }, stopTimeout);
  };
  if (signal?.aborted) {
    onStop();
  }
  signal?.addEventListener('abort', onStop);
  try {
    await Promise.race([handling, unfinished.promise]);
  } finally {
    signal?.removeEventListener('abort', onStop);
    clearTimeout(timer);
  }
}
