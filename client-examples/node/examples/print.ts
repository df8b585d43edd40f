/** Prints events. The token is in a file: after a kill, the last batch is printed again. */
import { Client, describe, describeDisconnected, FileCursor } from 'powerstream-consumer';

/** A variable that is empty counts as absent. */
const set = (name: string) => process.env[name] || undefined;
const consumer = set('CONSUMER') ?? 'print';

const client = new Client({
  address: set('GATEWAY') ?? 'http://127.0.0.1:50051',
  bearerFile: set('BEARER_FILE'),
  hooks: {
    onDisconnected(disconnected) {
      console.error(describeDisconnected(disconnected));
    },
  },
});
const cursor = await FileCursor.open(`${consumer}.cursor`);
const stop = new AbortController();
process.once('SIGTERM', () => {
  stop.abort();
});
const filter = { anyOf: set('FILTER_TAGS')?.split(',').filter((tag) => tag !== '') ?? [] };
const options = { consumer, account: set('ACCOUNT'), filter, start: 'earliest', signal: stop.signal } as const;
for await (const frame of client.subscribe({ ...options, token: cursor.token })) {
  if (frame.kind === 'batch') {
    frame.events.forEach((event) => {
      console.log(event.postId.toString(), event.tags.join(','));
    });
  }
  describe(frame).forEach((line) => {
    console.error(line);
  });
  await cursor.store(frame.token);
}
