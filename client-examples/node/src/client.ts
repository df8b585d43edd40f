import { readCredential, Unreadable } from './credential.js';
import { InvalidError } from './errors.js';
import type { Frame } from './frame.js';
import type { Hooks } from './hooks.js';
import { endpointOf, type ClientOptions, type Endpoint, type SubscribeOptions } from './options.js';
import { runHandler, type RunOptions } from './run.js';
import { Subscription, Violations } from './subscription.js';

/** Access to a gateway. It holds no connection: each subscription has its own. */
export class Client {
  readonly #endpoint: Endpoint;
  readonly #hooks: Hooks;
  readonly #violations = new Violations();

  /** Throws {@link InvalidError} if the options contradict each other. */
  constructor(options: ClientOptions) {
    this.#endpoint = endpointOf(options);
    this.#hooks = options.hooks ?? {};
  }

  /** Reads all files of the credential. Rejects with {@link InvalidError} if one cannot be read: useful at the start. */
  async verifyCredential(): Promise<void> {
    try {
      await readCredential(this.#endpoint.files);
    } catch (error) {
      throw error instanceof Unreadable ? new InvalidError('', error.message) : error;
    }
  }

  /**
   * Returns an endless sequence of frames. It connects, reconnects and resumes by itself.
   *
   * For each frame, store its effect and its `token` in one transaction, and ask for the next. After a disconnect the sequence
   * continues behind the last frame for which the next one was requested; after a restart of the process, behind `token`.
   * The sequence ends if `signal` is aborted; `break` ends it too. It throws only {@link StoppedError}.
   */
  subscribe(options: SubscribeOptions): AsyncGenerator<Frame, void, undefined> {
    return new Subscription(this.#endpoint, this.#hooks, this.#violations, options).frames();
  }

  /**
   * Reads with a handler until `signal` is aborted. If the handler rejects, `run` reloads the token, waits and continues:
   * see {@link RunOptions}.
   */
  run(options: RunOptions): Promise<void> {
    return runHandler(this, options);
  }
}
