//! Stores each post in SQLite exactly once: effect, gaps and resume token in one transaction.

mod environment;
mod store;

use std::error::Error;
use std::time::Duration;

use powerstream_consumer::proto::Event;
use powerstream_consumer::{Cause, Content, Delivery, Handler, HandlerError, ResumeToken, Start};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use store::GapRow;
use tokio::task::block_in_place;

const TABLES: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token text);";
const STORE_GAP: &str = "INSERT INTO gaps VALUES (?, ?, ?, ?) ON CONFLICT (gap_id) DO UPDATE
    SET state = excluded.state, start_time = excluded.start_time, end_time = excluded.end_time";
const STORE_TOKEN: &str =
    "INSERT INTO cursor VALUES (?, ?) ON CONFLICT (consumer) DO UPDATE SET token = excluded.token";

/// The database. Its methods may fail while the database does: `run` repeats them.
struct Store {
    db: Connection,
    consumer: String,
    fail_on: Option<u64>,
}

impl Handler for Store {
    async fn load(&mut self) -> Result<Option<ResumeToken>, HandlerError> {
        block_in_place(|| {
            self.db.execute_batch(TABLES)?;
            let query = "SELECT token FROM cursor WHERE consumer = ?";
            let token = self.db.query_row(query, [&self.consumer], |row| row.get::<_, String>(0)).optional()?;
            Ok(token.map(ResumeToken::from))
        })
    }

    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandlerError> {
        block_in_place(|| self.apply(delivery))
    }

    async fn dead_letter(&mut self, event: &Event, cause: Cause) -> Result<(), HandlerError> {
        let row = (event.post_id.to_string(), cause.to_string());
        block_in_place(|| self.db.execute("INSERT INTO dead_letters VALUES (?, ?)", row))?;
        Ok(())
    }
}

impl Store {
    /// Makes the effect of a delivery and its token durable in one transaction.
    fn apply(&mut self, delivery: &Delivery) -> Result<(), HandlerError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Content::Events(batch) = &delivery.content {
            let mut insert = transaction.prepare_cached("INSERT INTO posts VALUES (?, ?)")?;
            for event in &batch.events {
                if self.fail_on == Some(event.post_id) {
                    return Err(HandlerError::poison(event, "rejected by FAIL_ON"));
                }
                insert.execute((event.post_id.to_string(), &event.json))?;
            }
        }
        if let Some(gap) = GapRow::of(&delivery.content) {
            transaction.execute(STORE_GAP, (gap.gap_id, gap.state, gap.start_time, gap.end_time))?;
        }
        if let Some(token) = &delivery.token {
            transaction.execute(STORE_TOKEN, (&self.consumer, token.as_str()))?;
        }
        Ok(transaction.commit()?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    environment::log_to_stderr();
    let db = Connection::open(environment::text("DATABASE", "posts.db"))?;
    db.busy_timeout(Duration::from_secs(2))?;
    let name = environment::text("CONSUMER", "sqlite");
    let consumer = environment::consumer(&name).start(Start::Earliest).build()?;
    let mut store = Store { db, consumer: name, fail_on: environment::text("FAIL_ON", "").parse().ok() };
    Ok(consumer.run(&mut store, environment::stop()).await?)
}
