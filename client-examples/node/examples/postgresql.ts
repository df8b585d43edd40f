/** Stores events, gaps, dead letters and the token in PostgreSQL: the effect of each frame and its token in one transaction. */
import pg from 'pg';

import { Client, PoisonError, describeDisconnected, type Event, type Frame } from 'powerstream-consumer';

import { gapRows } from './gap_rows.js';

/** A variable that is empty counts as absent. */
const set = (name: string) => process.env[name] || undefined;
const consumer = set('CONSUMER') ?? 'postgresql';

const connectionString = set('DATABASE') ?? 'postgresql://postgres@127.0.0.1/postgres';
const pool = new pg.Pool({ connectionString, max: 1, connectionTimeoutMillis: 5_000, query_timeout: 30_000 });
function report(error: Error): void {
  console.error('connection failed:', error.message);
}
// Idle connections, and those between two queries of a transaction.
pool.on('error', report);
pool.on('connect', (db) => db.on('error', report));

/** Runs `work` in a transaction. A connection that failed is not used again. */
async function transaction(work: (db: pg.PoolClient) => Promise<void>): Promise<void> {
  const db = await pool.connect();
  try {
    await db.query('BEGIN');
    await work(db);
    await db.query('COMMIT');
    db.release();
  } catch (error) {
    db.release(true);
    throw error;
  }
}

const createTables = `
  CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
  CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
  CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
  CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token bytea);`;
const insertGap = `INSERT INTO gaps VALUES ($1, $2, $3, $4) ON CONFLICT (gap_id)
  DO UPDATE SET (state, start_time, end_time) = (EXCLUDED.state, EXCLUDED.start_time, EXCLUDED.end_time)`;
const storeToken = 'INSERT INTO cursor VALUES ($1, $2) ON CONFLICT (consumer) DO UPDATE SET token = EXCLUDED.token';

async function load(): Promise<string | undefined> {
  await pool.query(createTables);
  const { rows } = await pool.query<{ token: Buffer }>('SELECT token FROM cursor WHERE consumer = $1', [consumer]);
  return rows[0]?.token.toString();
}

async function insert(db: pg.PoolClient, event: Event): Promise<void> {
  if (event.postId.toString() === process.env.FAIL_ON) {
    throw new PoisonError(event, 'rejected by FAIL_ON');
  }
  try {
    await db.query('INSERT INTO posts VALUES ($1, $2)', [event.postId.toString(), event.json]);
  } catch (error) {
    // Data exception, or violated constraint: no retry makes this post acceptable. Every other error is one of the database.
    const isOfPost = error instanceof pg.DatabaseError && /^2[23]/.test(error.code ?? '');
    throw isOfPost ? new PoisonError(event, error) : error;
  }
}

async function handle(frame: Frame): Promise<void> {
  await transaction(async (db) => {
    if (frame.kind === 'batch') {
      for (const event of frame.events) {
        await insert(db, event);
      }
      for (const { event, reason } of frame.deadLetters) {
        await db.query('INSERT INTO dead_letters VALUES ($1, $2)', [event.postId.toString(), reason]);
      }
    }
    for (const row of gapRows(frame)) {
      await db.query(insertGap, row);
    }
    if (frame.token !== undefined) {
      await db.query(storeToken, [consumer, Buffer.from(frame.token)]);
    }
  });
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
    console.error(`failure ${attempt} of the handler, retry in ${retryIn.toFixed(0)} ms:`, String(error));
  },
});
await pool.end();
