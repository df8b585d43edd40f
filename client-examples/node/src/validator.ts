import type { EventBatch, SubscribeResponse } from './gen/powerstream/gateway/v1/stream_service.js';

/** A frame proves that something between the gateway's log and here lost or repeated events. */
export class Unsound extends Error {}

/** Verifies the frames of one session against each other. */
export class Validator {
  #started = false;
  #events = 0n;
  #lastSequence = 0n;

  /** Verifies the next frame of the session. Throws Unsound. */
  check(response: SubscribeResponse): void {
    const { frame } = response;
    const isStart = frame?.$case === 'sessionStart';
    if (isStart === this.#started) {
      throw new Unsound(isStart ? 'a second SessionStart came' : 'SessionStart expected first, another frame came');
    }
    this.#started = true;
    if (frame?.$case === 'eventBatch') {
      this.#checkBatch(frame.value);
    } else if (frame?.$case === 'heartbeat') {
      this.#checkTotal(frame.value.deliveredTotal);
    }
  }

  #checkBatch(batch: EventBatch): void {
    for (const { sequence } of batch.events) {
      // 0: a post read back for this consumer alone, not in the log.
      if (sequence === 0n) {
        continue;
      }
      if (sequence <= this.#lastSequence) {
        throw new Unsound(`a sequence over ${this.#lastSequence.toString()} expected, ${sequence.toString()} came`);
      }
      this.#lastSequence = sequence;
    }
    this.#events += BigInt(batch.events.length);
    this.#checkTotal(batch.deliveredTotal);
  }

  #checkTotal(deliveredTotal: bigint): void {
    if (deliveredTotal !== this.#events) {
      const [reported, counted] = [deliveredTotal.toString(), this.#events.toString()];
      throw new Unsound(`the gateway has delivered ${reported} events in this session, ${counted} came`);
    }
  }
}
