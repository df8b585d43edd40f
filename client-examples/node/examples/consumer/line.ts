import { Origin, type BatchFrame, type Event } from 'powerstream-consumer';

/** What is printed for the events of a batch: a line of JSON each. */
export function linesOf(batch: BatchFrame): string {
  return batch.events.map((event) => line(event, batch.possibleDuplicate)).join('');
}

function line(event: Event, possibleDuplicate: boolean): string {
  const object = {
    // 64-bit numbers as strings: JSON readers round them.
    sequence: event.sequence.toString(),
    post_id: event.postId.toString(),
    tags: event.tags,
    event_time_ms: event.eventTimeMs.toString(),
    origin: origin(event.origin),
    gap_id: event.gapId,
    delta: event.delta,
    possible_duplicate: possibleDuplicate,
    json: event.json,
  };
  return `${JSON.stringify(object)}\n`;
}

function origin(origin: Origin): string {
  const name = (Origin as Record<number, string | undefined>)[origin];
  return name?.replace('ORIGIN_', '') ?? String(origin);
}
