import { setTimeout as sleep } from 'node:timers/promises';

import { BACKOFF_MAX, BACKOFF_MIN, JITTER, RETRY_AFTER_MAX } from './limits.js';

/** How long BACK_OFF waits, in milliseconds. */
export class Backoff {
  #failures = 0;

  constructor(private readonly random: () => number = Math.random) {}

  /** A sound frame came. */
  reset(): void {
    this.#failures = 0;
  }

  /** The wait after one more failure: what the gateway asked for, else longer each time. */
  next(askedMs?: number): number {
    this.#failures += 1;
    if (askedMs !== undefined && askedMs > 0) {
      return Math.min(Math.max(askedMs, BACKOFF_MIN), RETRY_AFTER_MAX);
    }
    const grown = Math.min(BACKOFF_MIN * 2 ** (this.#failures - 1), BACKOFF_MAX);
    return grown * (1 + JITTER * this.random());
  }
}

/** Waits for so many milliseconds; less if `signal` is aborted. */
export async function pause(delay: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(delay, undefined, signal && { signal });
  } catch (error) {
    if (!(signal?.aborted ?? false)) {
      throw error;
    }
  }
}
