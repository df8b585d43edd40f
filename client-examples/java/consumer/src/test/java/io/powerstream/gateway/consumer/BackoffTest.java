package io.powerstream.gateway.consumer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class BackoffTest {
    @Test
    void delaysDoubleUpToMaximumUntilReset() {
        Backoff backoff = new Backoff(() -> 0);
        List<Long> waits =
                Stream.generate(() -> backoff.next(Optional.empty()).toMillis()).limit(9).toList();
        assertEquals(List.of(250L, 500L, 1_000L, 2_000L, 4_000L, 8_000L, 16_000L, 30_000L, 30_000L), waits);
        for (int i = 0; i < 100; i++) {
            assertEquals(30_000, backoff.next(Optional.empty()).toMillis());
        }
        backoff.reset();
        assertEquals(250, backoff.next(Optional.empty()).toMillis());
    }

    @Test
    void jitterAddsAtMostHalf() {
        assertEquals(375, new Backoff(() -> 1).next(Optional.empty()).toMillis());
    }

    @Test
    void whatTheGatewayAsksForIsKeptAsItIsWithinBounds() {
        checkAsked(1_300, 1_300);
        checkAsked(1, 250);
        checkAsked(1_000_000_000, 600_000);
    }

    private static void checkAsked(long askedMs, long expectedMs) {
        Duration wait = new Backoff(() -> 1).next(Optional.of(Duration.ofMillis(askedMs)));
        assertEquals(expectedMs, wait.toMillis());
    }
}
