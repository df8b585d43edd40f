"""What to change for your service: what is done with the events."""

import json
import os
import sys

from powerstream.gateway.v1.stream_service_pb2 import EventBatch

from . import words


class Printer:
    """Prints a line of JSON per event."""

    def handle(self, batch: EventBatch) -> None:
        """All of the batch, or an exception: its token is stored when this returns.

        The same batch may come again if the process is killed between the two. If that must do no harm, write the
        effect and the token in one transaction, or look at `post_id`.
        """
        lines = []
        for event in batch.events:
            line = {
                "sequence": str(event.sequence),
                "post_id": str(event.post_id),
                "tags": list(event.tags),
                "event_time_ms": str(event.event_time_ms),
                "origin": words.origin(event.origin),
                "gap_id": event.gap_id,
                "delta": event.delta,
                "possible_duplicate": batch.possible_duplicate,
                "json": event.json,
            }
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.write("".join(lines))

    def flush(self) -> None:
        """What was handled must have taken effect before its token is stored."""
        sys.stdout.flush()

    def give_up(self) -> None:
        """After a write that failed: what is left in the buffer must not be tried again at the end of the process."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
