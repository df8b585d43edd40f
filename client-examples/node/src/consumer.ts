import { setTimeout as sleep } from 'node:timers/promises';

import { status, type ServiceError } from '@grpc/grpc-js';

import { Audit, Unsound } from './audit.js';
import { Backoff } from './backoff.js';
import type { Config } from './config.js';
import { isSame, readCredential, Unreadable, type Credential } from './credential.js';
import type { CursorFile } from './cursor_file.js';
import type { SubscribeResponse } from './gen/powerstream/gateway/v1/stream_service.js';
import { CONNECT_WAIT_MAX, HEARTBEATS_MISSED_MAX } from './limits.js';
import { linesOf } from './line.js';
import type { Output } from './output.js';
import { Ended, Session } from './session.js';
import { endingOf, milliseconds } from './status.js';
import { decide, Exit, type CredentialState, type Ending } from './decision.js';
import { Silence } from './watchdog.js';
import { wordsOf } from './words.js';

/** What a session leaves behind. */
type Outcome = { ending: Ending; reconnectAfter?: number } | 'STOPPED';

/** The loop of PROTOCOL.md: CONNECT, STREAMING, DECIDE, BACK_OFF, until STOPPED. LOAD is in main. */
export class Consumer {
  readonly #backoff = new Backoff();
  #credential: Credential = {};
  #unsound = 0;
  #printed = 0;

  constructor(
    private readonly config: Config,
    private readonly cursor: CursorFile,
    private readonly output: Output,
    private readonly stop: AbortSignal,
  ) {}

  async run(): Promise<Exit> {
    while (!this.stop.aborted) {
      const outcome = await this.#connect();
      if (outcome === 'STOPPED') {
        break;
      }
      const decision = decide(outcome.ending, await this.#credentialNow());
      if (decision.next === 'STOPPED') {
        this.output.printStatus(decision.words);
        return decision.exit;
      }
      await this.#backOff(decision.words, decision.retryDelay || outcome.reconnectAfter);
    }
    return Exit.DONE;
  }

  /** CONNECT: everything is new; then STREAMING until the session ends. */
  async #connect(): Promise<Outcome> {
    let session: Session;
    try {
      this.#credential = await readCredential(this.config);
      session = await Session.open(this.config, this.#credential, this.cursor.token);
    } catch (error) {
      return { ending: this.#endingOf(error) };
    }
    const close = (): void => session.close();
    this.stop.addEventListener('abort', close);
    try {
      return await this.#stream(session);
    } finally {
      this.stop.removeEventListener('abort', close);
      close();
    }
  }

  /** STREAMING: check, handle, store, frame by frame. */
  async #stream(session: Session): Promise<Outcome> {
    const audit = new Audit();
    let silenceMax = Math.max(CONNECT_WAIT_MAX, HEARTBEATS_MISSED_MAX * this.config.heartbeatSeconds * 1_000);
    let reconnectAfter: number | undefined;
    for (;;) {
      let response: SubscribeResponse;
      try {
        response = await session.next(silenceMax);
        if (this.stop.aborted) {
          return 'STOPPED';
        }
        audit.check(response);
      } catch (error) {
        return this.stop.aborted ? 'STOPPED' : { ending: this.#endingOf(error), reconnectAfter };
      }
      const { frame } = response;
      if (frame?.$case === 'sessionStart') {
        this.#backoff.reset();
        const granted = milliseconds(frame.value.heartbeatInterval);
        silenceMax = granted ? HEARTBEATS_MISSED_MAX * granted : silenceMax;
      } else if (frame?.$case === 'draining') {
        reconnectAfter = milliseconds(frame.value.reconnectAfter);
      }
      await this.#handle(response);
      await this.#store(response);
      if (this.stop.aborted || (this.config.count !== undefined && this.#printed >= this.config.count)) {
        return 'STOPPED';
      }
    }
  }

  /** In your service: what is to be done with the events. */
  async #handle(response: SubscribeResponse): Promise<void> {
    const { frame } = response;
    if (frame?.$case === 'eventBatch') {
      await this.output.print(linesOf(frame.value));
      this.#printed += frame.value.events.length;
    } else {
      this.output.printStatus(...wordsOf(response));
    }
  }

  /** In your service: in the same transaction as the effect of the events. */
  async #store({ resumeToken }: SubscribeResponse): Promise<void> {
    if (resumeToken !== '' && resumeToken !== this.cursor.token) {
      await this.cursor.store(resumeToken);
    }
  }

  async #backOff(words: string, asked: number | undefined): Promise<void> {
    const wait = this.#backoff.next(asked);
    this.output.printStatus(`${words}; reconnecting in ${(wait / 1_000).toFixed(1)} s`);
    await sleep(wait, undefined, { signal: this.stop }).catch(() => {});
  }

  async #credentialNow(): Promise<CredentialState> {
    if (this.config.tokenFile === undefined && this.config.certFile === undefined) {
      return 'none';
    }
    const now = await readCredential(this.config).catch(() => undefined);
    return now === undefined || isSame(now, this.#credential) ? 'same' : 'changed';
  }

  /** Anything that is not an end of a session is an error of this process, and thrown on. */
  #endingOf(error: unknown): Ending {
    if (error instanceof Silence) {
      return { how: 'silence', seconds: error.seconds };
    }
    if (error instanceof Unsound) {
      this.#unsound += 1;
      return { how: 'unsound', text: error.message, times: this.#unsound };
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
      const { caFile, certFile, keyFile } = this.config;
      const files = [caFile, certFile, keyFile].filter((file) => file !== undefined).join(', ');
      return { how: 'unreadable', text: `cannot use ${files}: ${error.message}` };
    }
    throw error;
  }
}

function isOfTls(error: Error): boolean {
  return 'opensslErrorStack' in error || ('code' in error && String(error.code).startsWith('ERR_OSSL_'));
}
