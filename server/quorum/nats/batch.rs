//! Reads of a stream: direct gets in batches, which every node answers from its own copy.

use async_nats::{HeaderMap, Message as Received};
use futures::StreamExt;
use serde_json::json;

use super::super::chain::Chain;
use super::super::error::Unavailable;
use super::super::place::{LogPlace, Subject};
use super::super::traits::{Message, Stored};
use super::connection::NatsConnection;
use super::stream::{CHAIN, SUBJECTS, suffix};

/// Messages of one read.
const MESSAGES_MAX: usize = 512;
/// Status of the end of a batch.
const END: u16 = 204;
/// Status of a read behind the last message.
const NOT_FOUND: u16 = 404;
/// Status of a request that no node serves.
const NO_RESPONDERS: u16 = 503;

/// Reads from a place on. The result may be shorter than what the node has, and empty if nothing was found.
pub(super) async fn read(
    connection: &NatsConnection,
    stream: &str,
    from: LogPlace,
    bytes_max: usize,
) -> Result<Vec<Stored>, Unavailable> {
    let NatsConnection { client, clock, call_timeout } = connection;
    let mut found: Vec<Stored> = Vec::new();
    let reading = async {
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| Unavailable(error.to_string()))?;
        let request = json!({ "seq": from.max(1), "batch": MESSAGES_MAX, "max_bytes": bytes_max.max(1) }).to_string();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let sent = client.publish_with_reply(subject, inbox, request.into()).await;
        sent.map_err(|error| Unavailable(error.to_string()))?;
        while let Some(answer) = answers.next().await {
            match answer.status.map(|status| status.as_u16()) {
                None => match next(answer, found.last()) {
                    Some(stored) => found.push(stored),
                    // A message was lost on its way: what follows is read again.
                    None => return Ok(()),
                },
                Some(END | NOT_FOUND) => return Ok(()),
                Some(NO_RESPONDERS) => return Err(Unavailable("no node responds".into())),
                Some(status) => {
                    let text = answer.description.unwrap_or_default();
                    return Err(Unavailable(format!("read refused with status {status}: {text}")));
                }
            }
        }
        Err(Unavailable("connection closed".into()))
    };
    let result = clock.timeout(*call_timeout, reading).await;
    match result {
        // What arrived is good, whatever became of the rest.
        _ if !found.is_empty() => Ok(found),
        Ok(Ok(())) => Ok(found),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Unavailable("no answer in time".into())),
    }
}

/// Returns a message of a batch; `None` if it does not follow the one before it.
fn next(answer: Received, before: Option<&Stored>) -> Option<Stored> {
    let headers = answer.headers.as_ref()?;
    let place = number(headers, "Nats-Sequence")?;
    if let Some(before) = before
        && number(headers, "Nats-Last-Sequence") != Some(before.place)
    {
        return None;
    }
    // A message without a chain was written by another program. It is passed over, because no chain continues with this.
    let chain = headers.get(CHAIN).and_then(|value| value.as_str().parse().ok()).unwrap_or(Chain::START);
    let last = headers.get("Nats-Subject")?.as_str().rsplit('.').next()?;
    let subject = SUBJECTS.into_iter().find(|subject| suffix(*subject) == last).unwrap_or(Subject::Log);
    Some(Stored { place, message: Message { subject, chain, payload: answer.payload } })
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
