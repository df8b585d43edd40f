import type { ClientReadableStream } from '@grpc/grpc-js';

import { metadataOf, newChannel, requestOf } from './channel.js';
import type { Credential } from './credential.js';
import type { StreamServiceClient, SubscribeResponse } from './gen/powerstream/gateway/v1/stream_service.js';
import type { Endpoint, SubscribeOptions } from './options.js';
import { watched } from './watchdog.js';

/** The gateway ended the stream without a word. */
export class Ended extends Error {}

/** One call of Subscribe on a channel of its own. Frames are pulled one by one: flow control reaches the gateway. */
export class Session {
  readonly #frames: AsyncIterator<SubscribeResponse>;

  private constructor(
    private readonly channel: StreamServiceClient,
    private readonly call: ClientReadableStream<SubscribeResponse>,
  ) {
    // The iterator throws what the call ends with; an end that no call waits for any more must not end the process.
    call.on('error', ignore);
    this.#frames = (call as AsyncIterable<SubscribeResponse>)[Symbol.asyncIterator]();
  }

  static async open(
    endpoint: Endpoint,
    credential: Credential,
    options: SubscribeOptions,
    heartbeat: number,
    token: string | undefined,
  ): Promise<Session> {
    const channel = await newChannel(endpoint, credential);
    return new Session(channel, channel.subscribe(requestOf(options, heartbeat, token), metadataOf(credential)));
  }

  /** The next frame. Throws Silence, Ended, or the ServiceError that the call ended with. */
  async next(silenceMaxMs: number): Promise<SubscribeResponse> {
    const waiting = this.#frames.next();
    // After silence no call waits for it any more.
    waiting.catch(ignore);
    const next = await watched(waiting, silenceMaxMs);
    if (next.done === true) {
      throw new Ended('the gateway ended the stream');
    }
    return next.value;
  }

  /** A call that is not cancelled keeps its session at the gateway. */
  close(): void {
    this.call.cancel();
    this.channel.close();
  }
}

function ignore(): void {
  // Reported elsewhere.
}
