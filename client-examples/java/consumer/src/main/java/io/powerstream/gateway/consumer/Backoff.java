package io.powerstream.gateway.consumer;

import java.time.Duration;
import java.util.Optional;
import java.util.function.DoubleSupplier;

/** How long BACK_OFF waits. */
final class Backoff {
    private final DoubleSupplier random;
    private int failures;

    Backoff(DoubleSupplier random) {
        this.random = random;
    }

    /** A sound frame came. */
    void reset() {
        failures = 0;
    }

    /** The wait after one more failure: what the gateway asked for, else longer each time. */
    Duration next(Optional<Duration> asked) {
        // More doublings change nothing: the longest wait is reached long before.
        failures = Math.min(failures + 1, 30);
        if (asked.isPresent()) {
            return clamped(asked.get());
        }
        long grown = Math.min(Limits.BACKOFF_MIN.toMillis() << (failures - 1), Limits.BACKOFF_MAX.toMillis());
        return Duration.ofMillis(Math.round(grown * (1 + Limits.JITTER * random.getAsDouble())));
    }

    private static Duration clamped(Duration asked) {
        if (asked.compareTo(Limits.BACKOFF_MIN) < 0) {
            return Limits.BACKOFF_MIN;
        }
        return asked.compareTo(Limits.RETRY_AFTER_MAX) > 0 ? Limits.RETRY_AFTER_MAX : asked;
    }
}
