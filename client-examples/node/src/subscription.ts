import { status, type ServiceError } from '@grpc/grpc-js';

import { Backoff, pause } from './backoff.js';
import { isSame, readCredential, Unreadable, type Credential } from './credential.js';
import { framesOf, type Frame } from './frame.js';
import type { SubscribeResponse } from './gen/powerstream/gateway/v1/stream_service.js';
import { callHooks, type Hooks } from './hooks.js';
import { CONNECT_WAIT_MAX, HEARTBEATS_MISSED_MAX } from './limits.js';
import { heartbeatOf, type Endpoint, type SubscribeOptions } from './options.js';
import { decide, type CredentialState, type Ending } from './retry_policy.js';
import { Ended, Session } from './session.js';
import { endingOf, milliseconds } from './status.js';
import { Unsound, Validator } from './validator.js';
import { Silence } from './watchdog.js';

/** Count of unsound frames of a client. */
export class Violations {
  count = 0;
}

/** The loop of PROTOCOL.md: CONNECT, STREAMING, DECIDE, BACK_OFF, until STOPPED. */
export class Subscription {
  readonly #backoff = new Backoff();
  readonly #heartbeat: number;
  #credential: Credential = {};
  #token: string | undefined;
  /** Delay in milliseconds that a Draining frame of this session requested. */
  #reconnectAfter: number | undefined;

  constructor(
    private readonly endpoint: Endpoint,
    private readonly hooks: Hooks,
    private readonly violations: Violations,
    private readonly options: SubscribeOptions,
  ) {
    this.#heartbeat = heartbeatOf(options);
    this.#token = options.token;
  }

  async *frames(): AsyncGenerator<Frame, void, undefined> {
    while (!this.#isStopped()) {
      const ending = yield* this.#connect();
      if (ending === undefined) {
        return;
      }
      const decision = decide(ending, await this.#credentialNow());
      if (decision.next === 'STOPPED') {
        throw decision.error;
      }
      const retryIn = this.#backoff.next(positive(decision.retryDelay) ?? this.#reconnectAfter);
      this.hooks.onDisconnected?.({ cause: decision.cause, isViolation: ending.how === 'unsound', retryIn });
      await pause(retryIn, this.options.signal);
    }
  }

  /** CONNECT: creates everything again; then STREAMING until the session ends. Returns undefined for STOPPED. */
  async *#connect(): AsyncGenerator<Frame, Ending | undefined, undefined> {
    this.#reconnectAfter = undefined;
    let session: Session;
    try {
      this.#credential = await readCredential(this.endpoint.files);
      session = await Session.open(this.endpoint, this.#credential, this.options, this.#heartbeat, this.#token);
    } catch (error) {
      return this.#endingOf(error);
    }
    const close = (): void => {
      session.close();
    };
    this.options.signal?.addEventListener('abort', close);
    try {
      return yield* this.#stream(session);
    } finally {
      this.options.signal?.removeEventListener('abort', close);
      close();
    }
  }

  /** STREAMING: check, handle, confirm, frame by frame. */
  async *#stream(session: Session): AsyncGenerator<Frame, Ending | undefined, undefined> {
    const validator = new Validator();
    let silenceMax = Math.max(CONNECT_WAIT_MAX, HEARTBEATS_MISSED_MAX * this.#heartbeat * 1_000);
    for (;;) {
      let response: SubscribeResponse;
      try {
        response = await session.next(silenceMax);
        if (this.#isStopped()) {
          return undefined;
        }
        validator.check(response);
      } catch (error) {
        return this.#isStopped() ? undefined : this.#endingOf(error);
      }
      const { frame } = response;
      if (frame?.$case === 'sessionStart') {
        this.#backoff.reset();
        const granted = positive(milliseconds(frame.value.heartbeatInterval));
        silenceMax = granted === undefined ? silenceMax : HEARTBEATS_MISSED_MAX * granted;
      } else if (frame?.$case === 'draining') {
        this.#reconnectAfter = positive(milliseconds(frame.value.reconnectAfter));
      }
      callHooks(this.hooks, response);
      for (const element of framesOf(response)) {
        yield element;
        // The caller asks for the next frame, so that the effect of this one is stored.
        this.#token = element.token ?? this.#token;
        if (this.#isStopped()) {
          return undefined;
        }
      }
    }
  }

  #isStopped(): boolean {
    return this.options.signal?.aborted ?? false;
  }

  async #credentialNow(): Promise<CredentialState> {
    const { bearer, certificate } = this.endpoint.files;
    if (bearer === undefined && certificate === undefined) {
      return 'none';
    }
    const now = await readCredential(this.endpoint.files).catch(() => undefined);
    return now === undefined || isSame(now, this.#credential) ? 'same' : 'changed';
  }

  #endingOf(error: unknown): Ending {
    if (error instanceof Unsound) {
      this.violations.count += 1;
      return { how: 'unsound', text: error.message, times: this.violations.count };
    }
    if (error instanceof Silence) {
      return { how: 'silence', seconds: error.seconds };
    }
    if (error instanceof Unreadable) {
      return { how: 'unreadable', text: error.message };
    }
    if (error instanceof Ended) {
      return { how: 'status', code: status.OK, text: error.message };
    }
    if (error instanceof Error && 'code' in error && 'metadata' in error) {
      return endingOf(error as ServiceError);
    }
    // A file that contains no certificate, or a key of another one, is reported by the TLS library, with words of its own.
    if (error instanceof Error && isOfTls(error)) {
      const { ca, certificate, key } = this.endpoint.files;
      const files = [ca, certificate, key].filter((file) => file !== undefined).join(', ');
      return { how: 'unreadable', text: `cannot use ${files}: ${error.message}` };
    }
    throw error;
  }
}

function isOfTls(error: Error): boolean {
  return 'opensslErrorStack' in error || ('code' in error && String(error.code).startsWith('ERR_OSSL_'));
}

function positive(number: number | undefined): number | undefined {
  return number !== undefined && number > 0 ? number : undefined;
}
