use powerstream_consumer::proto::{Event, EventBatch, Origin};
use serde::Serialize;

/// Line of an event. 64-bit numbers are strings, because JSON readers round them.
#[derive(Serialize)]
struct Line<'a> {
    sequence: String,
    post_id: String,
    tags: &'a [String],
    event_time_ms: String,
    origin: String,
    gap_id: &'a str,
    delta: bool,
    possible_duplicate: bool,
    json: &'a str,
}

/// Returns a line of JSON for each event of the batch.
pub fn lines_of(batch: &EventBatch) -> Vec<u8> {
    let mut text = Vec::new();
    for event in &batch.events {
        serde_json::to_writer(&mut text, &line(event, batch.possible_duplicate))
            .expect("text and numbers are always JSON, and a Vec accepts all of it");
        text.push(b'\n');
    }
    text
}

fn line(event: &Event, possible_duplicate: bool) -> Line<'_> {
    Line {
        sequence: event.sequence.to_string(),
        post_id: event.post_id.to_string(),
        tags: &event.tags,
        event_time_ms: event.event_time_ms.to_string(),
        origin: origin(event.origin),
        gap_id: &event.gap_id,
        delta: event.delta,
        possible_duplicate,
        json: &event.json,
    }
}

fn origin(origin: i32) -> String {
    Origin::try_from(origin)
        .map_or_else(|_| origin.to_string(), |origin| origin.as_str_name().trim_start_matches("ORIGIN_").into())
}
