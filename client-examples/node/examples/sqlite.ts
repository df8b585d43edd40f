/** Stores events, gaps, dead letters and the token in SQLite: the effect of each frame and its token in one transaction. */
import { DatabaseSync } from 'node:sqlite';

import { Client, PoisonError, describeDisconnected, type Event, type Frame } from 'powerstream-consumer';

import { gapRows } from './gap_rows.js';

/** A variable that is empty counts as absent. */
const set = (name: string) => process.env[name] || undefined;
const consumer = set('CONSUMER') ?? 'sqlite';

const db = new DatabaseSync(set('DATABASE') ?? 'posts.db');

/** May fail while another process locks the database: `run` repeats it. */
function load(): string | undefined {
  db.exec(`PRAGMA busy_timeout = 2000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
    CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
    CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
    CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token blob);`);
  statements ??= prepare();
  return statements.loadToken.get(consumer)?.token as string | undefined;
}

function prepare() {
  return {
    insertPost: db.prepare('INSERT INTO posts VALUES (?, ?)'),
    insertGap: db.prepare('INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?)'),
    insertDeadLetter: db.prepare('INSERT INTO dead_letters VALUES (?, ?)'),
    storeToken: db.prepare('INSERT OR REPLACE INTO cursor VALUES (?, ?)'),
    loadToken: db.prepare('SELECT CAST(token AS text) AS token FROM cursor WHERE consumer = ?'),
  };
}

type Statements = ReturnType<typeof prepare>;
let statements: Statements | undefined;

function insert({ insertPost }: Statements, event: Event): void {
  if (event.postId.toString() === process.env.FAIL_ON) {
    throw new PoisonError(event, 'rejected by FAIL_ON');
  }
  try {
    insertPost.run(event.postId.toString(), event.json);
  } catch (error) {
    // SQLITE_CONSTRAINT: no retry makes this post acceptable. Every other error is one of the database.
    throw ((error as { errcode?: number }).errcode ?? 0) % 256 === 19 ? new PoisonError(event, error) : error;
  }
}

function handle(frame: Frame): void {
  const own = (statements ??= prepare());
  db.exec('BEGIN IMMEDIATE');
  try {
    if (frame.kind === 'batch') {
      frame.events.forEach((event) => {
        insert(own, event);
      });
      frame.deadLetters.forEach(({ event, reason }) => own.insertDeadLetter.run(event.postId.toString(), reason));
    }
    gapRows(frame).forEach((row) => own.insertGap.run(...row));
    if (frame.token !== undefined) {
      own.storeToken.run(consumer, Buffer.from(frame.token));
    }
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) {
      db.exec('ROLLBACK');
    }
    throw error;
  }
}

const stop = new AbortController();
process.once('SIGTERM', () => {
  stop.abort();
});
const client = new Client({
  address: set('GATEWAY') ?? 'http://127.0.0.1:50051',
  bearerFile: set('BEARER_FILE'),
  hooks: {
    onDisconnected(disconnected) {
      console.error(describeDisconnected(disconnected));
    },
  },
});
await client.run({
  consumer,
  account: set('ACCOUNT'),
  filter: { anyOf: set('FILTER_TAGS')?.split(',').filter((tag) => tag !== '') ?? [] },
  start: 'earliest',
  signal: stop.signal,
  load,
  handle,
  deadLetter({ event, reason }) {
    console.error(`dead letter ${event.postId.toString()}: ${reason}`);
  },
  onError({ error, attempt, retryIn }) {
    console.error(`failure ${attempt} of the handler, retry in ${retryIn.toFixed(0)} ms:`, error);
  },
});
