"""Prints each post. It starts at the tip again after a restart; during its life it misses none."""

import logging
import os
import signal
import sys

from powerstream import Batch, Client


def main() -> None:
    # Sessions, gaps and losses.
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    client = Client(
        os.environ.get("GATEWAY") or "http://127.0.0.1:50051",
        bearer_file=os.environ.get("BEARER_FILE") or None,
        account=os.environ.get("ACCOUNT", ""),
        consumer=os.environ.get("CONSUMER") or "print",
        any_of=[tag for tag in os.environ.get("FILTER_TAGS", "").split(",") if tag],
    )
    try:
        for frame in client.subscribe_sync():
            if isinstance(frame, Batch):
                for event in frame.events:
                    print(event.json, flush=True)
    except KeyboardInterrupt:
        pass


main()
