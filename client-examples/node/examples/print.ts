/** Prints events. The token is in a file: after a kill, the last batch is printed again. */
import { Client, describe, describeDisconnected, FileCursor } from 'powerstream-consumer';

const { GATEWAY = 'http://127.0.0.1:50051', BEARER_FILE, ACCOUNT, CONSUMER = 'print', FILTER_TAGS = '' } = process.env;

const client = new Client({
  address: GATEWAY,
  bearerFile: BEARER_FILE,
  hooks: {
    onDisconnected(disconnected) {
      console.error(describeDisconnected(disconnected));
    },
  },
});
const cursor = await FileCursor.open(`${CONSUMER}.cursor`);
const stop = new AbortController();
process.once('SIGTERM', () => {
  stop.abort();
});
const filter = { anyOf: FILTER_TAGS.split(',').filter((tag) => tag !== '') };
const options = { consumer: CONSUMER, account: ACCOUNT, filter, start: 'earliest', signal: stop.signal } as const;
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
