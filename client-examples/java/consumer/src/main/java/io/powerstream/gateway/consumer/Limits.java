package io.powerstream.gateway.consumer;

import java.time.Duration;

/** The table "Constants" of PROTOCOL.md. */
final class Limits {
    static final Duration BACKOFF_MIN = Duration.ofMillis(250);
    static final Duration BACKOFF_MAX = Duration.ofSeconds(30);
    static final double JITTER = 0.5;
    static final Duration RETRY_AFTER_MAX = Duration.ofMinutes(10);
    static final int HEARTBEATS_MISSED_MAX = 3;
    static final Duration CONNECT_WAIT_MAX = Duration.ofSeconds(10);
    static final Duration KEEPALIVE_INTERVAL = Duration.ofSeconds(20);
    static final Duration KEEPALIVE_TIMEOUT = Duration.ofSeconds(10);
    static final int FRAME_BYTES_MAX = 16 << 20;
    static final int BATCH_BYTES_MAX = 1 << 20;
    static final int BATCH_EVENTS_MAX = 10_000;
    static final int UNSOUND_MAX = 3;
    static final Duration STOP_WAIT_MAX = Duration.ofSeconds(5);
    static final int CURSOR_BYTES_MAX = 1_024;

    private Limits() {}
}
