"""Delays between sessions."""

import random

from ._limits import BACKOFF_MAX, BACKOFF_MIN, JITTER, RETRY_AFTER_MAX


def delay_after(failures: int, requested: float | None) -> float:
    """Return the delay after so many successive failures, the last one included; `requested`: by the gateway."""
    if requested is not None:
        # The gateway has jittered it for this client.
        return min(max(requested, BACKOFF_MIN), RETRY_AFTER_MAX)
    # The exponent is bounded, because a float is.
    base = min(BACKOFF_MIN * 2.0 ** min(failures - 1, 30), BACKOFF_MAX)
    # No secret: only spread.
    return base * (1 + JITTER * random.random())  # noqa: S311
