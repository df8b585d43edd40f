"""How long to wait before the next CONNECT."""

import random

from .limits import BACKOFF_MAX, BACKOFF_MIN, JITTER, RETRY_AFTER_MAX


def wait(failures: int, asked: float | None) -> float:
    """`failures`: how often in a row, this one included; `asked`: what the gateway asks for."""
    if asked is not None:
        # The gateway has drawn it for this client: no jitter.
        return min(max(asked, BACKOFF_MIN), RETRY_AFTER_MAX)
    # The exponent is bounded, for a float is.
    base = min(BACKOFF_MIN * 2.0 ** min(failures - 1, 30), BACKOFF_MAX)
    return base * (1 + JITTER * random.random())
