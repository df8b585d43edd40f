import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';

import {
  Client,
  PermanentError,
  PoisonError,
  UnfinishedError,
  type BatchFrame,
  type Frame,
  type RunOptions,
} from 'powerstream-consumer';

import { batch, ScriptedGateway, start } from './gateway.js';

let running: ScriptedGateway | undefined;

afterEach(() => running?.stop());

async function gatewayWith(...scripts: Parameters<typeof ScriptedGateway.start>): Promise<[ScriptedGateway, Client]> {
  const { gateway, address } = await ScriptedGateway.start(...scripts);
  running = gateway;
  return [gateway, new Client({ address })];
}

/** A store with the semantics of a transaction, and a handler that fails where `fail` throws. */
class Store {
  readonly stop = new AbortController();
  readonly ids: bigint[] = [];
  readonly dead: bigint[] = [];
  token: string | undefined;

  constructor(private readonly last: string) {}

  options(fail: (frame: BatchFrame) => void): RunOptions {
    return {
      consumer: 'test',
      signal: this.stop.signal,
      load: () => this.token,
      handle: (frame) => {
        if (frame.kind === 'batch') {
          fail(frame);
          this.ids.push(...frame.events.map(({ postId }) => postId));
          this.dead.push(...frame.deadLetters.map(({ event }) => event.postId));
        }
        this.token = frame.token ?? this.token;
        if (this.token === this.last) {
          this.stop.abort();
        }
      },
    };
  }
}

test('a sequence resumes with the token of the last frame that was handled', async () => {
  const script = [start('t0'), batch('t1', 2, 1, 2)];
  const [gateway, client] = await gatewayWith(script, [start('t1'), batch('t2', 1, 3)], []);
  const kinds: string[] = [];
  const stop = new AbortController();
  const reading = (async () => {
    for await (const frame of client.subscribe({ consumer: 'test', signal: stop.signal })) {
      kinds.push(frame.kind);
    }
  })();
  await gateway.called(3);
  stop.abort();
  await reading;
  assert.deepEqual(gateway.tokens, [undefined, 't1', 't2']);
  assert.deepEqual(kinds, ['progress', 'batch', 'progress', 'batch']);
});

test('a handler that fails is called again behind the stored token', async () => {
  const rest = [start('t1'), batch('t2', 1, 3)];
  const [gateway, client] = await gatewayWith([start('t0'), batch('t1', 2, 1, 2), batch('t2', 3, 3)], rest);
  const store = new Store('t2');
  const failures: number[] = [];
  let fails = 1;
  const fail = ({ token }: BatchFrame): void => {
    if (token === 't2' && fails-- > 0) {
      throw new Error('database is locked');
    }
  };
  await client.run({ ...store.options(fail), onError: ({ attempt }) => failures.push(attempt) });
  assert.deepEqual(gateway.tokens, [undefined, 't1']);
  assert.deepEqual(store.ids, [1n, 2n, 3n]);
  assert.deepEqual(failures, [1]);
});

test('a poison post is handed over as a dead letter, in the frame of its batch', async () => {
  const [, client] = await gatewayWith([start('t0'), batch('t1', 3, 1, 2, 3)]);
  const store = new Store('t1');
  const letters: bigint[] = [];
  const fail = ({ events }: BatchFrame): void => {
    const poison = events.find(({ postId }) => postId !== 2n);
    if (poison !== undefined) {
      throw new PoisonError(poison, 'it is odd');
    }
  };
  await client.run({ ...store.options(fail), deadLetter: ({ event }) => void letters.push(event.postId) });
  assert.deepEqual([store.ids, store.dead, letters], [[2n], [1n, 3n], [1n, 3n]]);
});

test('a permanent error and an unaccepted poison post end the run', async () => {
  for (const thrown of [(): Error => new PermanentError('no'), ({ events: [event] }: BatchFrame): Error => poison(event)]) {
    const [, client] = await gatewayWith([start('t0'), batch('t1', 1, 1)]);
    let error: Error | undefined;
    const fail = (frame: BatchFrame): never => {
      error = thrown(frame);
      throw error;
    };
    await assert.rejects(client.run(new Store('t1').options(fail)), (reason) => reason === error);
    running?.stop();
  }
});

function poison(event: BatchFrame['events'][number] | undefined): PoisonError {
  assert(event !== undefined);
  return new PoisonError(event, 'no');
}

test('a stop reports the frame that its handler has not finished', async () => {
  const [, client] = await gatewayWith([start('t0'), batch('t1', 1, 1)]);
  const stop = new AbortController();
  const handle = (frame: Frame): Promise<void> | undefined => {
    if (frame.kind !== 'batch') {
      return undefined;
    }
    stop.abort();
    return new Promise(() => undefined);
  };
  const run = client.run({
    consumer: 'test',
    signal: stop.signal,
    stopTimeout: 10,
    load: () => undefined,
    handle,
  });
  await assert.rejects(run, (error) => error instanceof UnfinishedError && error.frame.token === 't1');
});
