//! Stores each post in PostgreSQL exactly once: effect, gaps and resume token in one transaction.

mod environment;
mod store;

use std::error::Error;

use powerstream_consumer::proto::Event;
use powerstream_consumer::{Cause, Content, Delivery, Handler, HandlerError, ResumeToken, Start};
use store::GapRow;
use tokio_postgres::{Client, NoTls};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS posts (post_id text, event text);
CREATE TABLE IF NOT EXISTS gaps (gap_id text PRIMARY KEY, state text, start_time text, end_time text);
CREATE TABLE IF NOT EXISTS dead_letters (post_id text, reason text);
CREATE TABLE IF NOT EXISTS cursor (consumer text PRIMARY KEY, token text)";
const STORE_POSTS: &str = "INSERT INTO posts SELECT * FROM unnest($1::text[], $2::text[])";
const STORE_GAP: &str = "INSERT INTO gaps VALUES ($1, $2, $3, $4) ON CONFLICT (gap_id) DO UPDATE
    SET state = excluded.state, start_time = excluded.start_time, end_time = excluded.end_time";
const STORE_TOKEN: &str = "INSERT INTO cursor VALUES ($1, $2)
    ON CONFLICT (consumer) DO UPDATE SET token = excluded.token";

/// The database. Its methods may fail while the database does: `run` repeats them.
struct Store {
    url: String,
    consumer: String,
    fail_on: Option<u64>,
    /// What `load` has opened.
    db: Option<Client>,
}

impl Handler for Store {
    /// Connects again: the failure may have been that of the connection.
    async fn load(&mut self) -> Result<Option<ResumeToken>, HandlerError> {
        let (db, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        // It ends with the client. Its error is that of the statement in hand too.
        tokio::spawn(connection);
        db.batch_execute(TABLES).await?;
        let row = db.query_opt("SELECT token FROM cursor WHERE consumer = $1", &[&self.consumer]).await?;
        self.db = Some(db);
        Ok(row.map(|row| ResumeToken::from(row.get::<_, String>(0))))
    }

    /// Makes the effect of a delivery and its token durable in one transaction.
    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandlerError> {
        let db = self.db.as_mut().ok_or_else(|| HandlerError::transient("not connected"))?;
        let transaction = db.transaction().await?;
        if let Content::Events(batch) = &delivery.content {
            if let Some(event) = batch.events.iter().find(|event| self.fail_on == Some(event.post_id)) {
                return Err(HandlerError::poison(event, "rejected by FAIL_ON"));
            }
            let ids: Vec<_> = batch.events.iter().map(|event| event.post_id.to_string()).collect();
            let events: Vec<_> = batch.events.iter().map(|event| &event.json).collect();
            transaction.execute(STORE_POSTS, &[&ids, &events]).await?;
        }
        if let Some(gap) = GapRow::of(&delivery.content) {
            transaction.execute(STORE_GAP, &[&gap.gap_id, &gap.state, &gap.start_time, &gap.end_time]).await?;
        }
        if let Some(token) = &delivery.token {
            transaction.execute(STORE_TOKEN, &[&self.consumer, &token.as_str()]).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn dead_letter(&mut self, event: &Event, cause: Cause) -> Result<(), HandlerError> {
        let db = self.db.as_ref().ok_or_else(|| HandlerError::transient("not connected"))?;
        let (id, reason) = (event.post_id.to_string(), cause.to_string());
        db.execute("INSERT INTO dead_letters VALUES ($1, $2)", &[&id, &reason]).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    environment::log_to_stderr();
    let name = environment::text("CONSUMER", "postgresql");
    let consumer = environment::consumer(&name).start(Start::Earliest).build()?;
    let url = environment::text("DATABASE", "postgresql://postgres@127.0.0.1/postgres");
    let mut store = Store { url, consumer: name, fail_on: environment::text("FAIL_ON", "").parse().ok(), db: None };
    Ok(consumer.run(&mut store, environment::stop()).await?)
}
