import { setTimeout as sleep } from 'node:timers/promises';

import { Metadata, Server, ServerCredentials, status, type ServerWritableStream } from '@grpc/grpc-js';

import {
  Phase,
  StreamServiceService,
  SubscribeResponse,
  type SubscribeRequest,
} from '../src/gen/powerstream/gateway/v1/stream_service.js';

type Call = ServerWritableStream<SubscribeRequest, SubscribeResponse>;
type Response = Parameters<typeof SubscribeResponse.create>[0];

/** A gateway that sends these responses to each call in turn, and then ends it with UNAVAILABLE; the last call stays open. */
export class ScriptedGateway {
  readonly #server = new Server();
  /** Token of each call so far; undefined without one. */
  readonly tokens: (string | undefined)[] = [];

  private constructor(private readonly scripts: Response[][]) {}

  static async start(...scripts: Response[][]): Promise<{ gateway: ScriptedGateway; address: string }> {
    const gateway = new ScriptedGateway(scripts);
    gateway.#server.addService(StreamServiceService, {
      subscribe: (call: Call) => {
        gateway.#subscribe(call);
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      gateway.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) {
          resolve(bound);
        } else {
          reject(error);
        }
      });
    });
    return { gateway, address: `http://127.0.0.1:${port}` };
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  /** Waits for so many calls. */
  async called(times: number): Promise<void> {
    while (this.tokens.length < times) {
      await sleep(10);
    }
  }

  #subscribe(call: Call): void {
    const { start } = call.request;
    this.tokens.push(start?.$case === 'resumeToken' ? start.value : undefined);
    for (const response of this.scripts.shift() ?? []) {
      call.write(SubscribeResponse.create(response));
    }
    if (this.scripts.length > 0) {
      call.emit('error', { code: status.UNAVAILABLE, details: 'as scripted', metadata: new Metadata() });
    }
  }
}

export function start(resumeToken: string): Response {
  return { resumeToken, frame: { $case: 'sessionStart', value: { sessionId: 's', missing: [], openGaps: [], warnings: [] } } };
}

/** A batch with posts of these ids, which are their sequences too. */
export function batch(resumeToken: string, deliveredTotal: number, ...ids: number[]): Response {
  const event = (id: number) => ({ sequence: BigInt(id), postId: BigInt(id), tags: [], rules: [], json: '{}' });
  const value = { events: ids.map(event), phase: Phase.PHASE_LIVE, deliveredTotal: BigInt(deliveredTotal) };
  return { resumeToken, frame: { $case: 'eventBatch', value } };
}
