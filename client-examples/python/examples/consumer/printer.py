"""Events as lines of JSON."""

from __future__ import annotations

import json
import os
import sys

from powerstream import Batch  # noqa: TC001
from powerstream.gateway.v1.event_pb2 import Origin


class Printer:
    """Prints a line of JSON per event."""

    def handle(self, batch: Batch) -> None:
        """Print all of the batch, perhaps into a buffer."""
        lines = []
        for event in batch.events:
            line = {
                "sequence": str(event.sequence),
                "post_id": str(event.post_id),
                "tags": list(event.tags),
                "event_time_ms": str(event.event_time_ms),
                "origin": origin(event.origin),
                "gap_id": event.gap_id,
                "delta": event.delta,
                "possible_duplicate": batch.possible_duplicate,
                "json": event.json,
            }
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        sys.stdout.write("".join(lines))

    def flush(self) -> None:
        """Write the buffer: what was printed must be out before its token is stored."""
        sys.stdout.flush()

    def give_up(self) -> None:
        """Discard the buffer after a write that failed, so that it is not tried again at the end of the process."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def origin(value: Origin.ValueType) -> str:
    """Return the name without its prefix; the number for one of a newer gateway."""
    try:
        return Origin.Name(value).removeprefix("ORIGIN_")
    except ValueError:
        return str(value)
