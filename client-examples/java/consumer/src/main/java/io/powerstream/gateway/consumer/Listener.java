package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.Draining;
import io.powerstream.gateway.v1.Gap;
import io.powerstream.gateway.v1.Heartbeat;
import io.powerstream.gateway.v1.SessionStart;
import io.powerstream.gateway.v1.StreamNotice;
import java.time.Duration;

/**
 * Callbacks for metrics. They run on the thread that calls {@link Subscription#next}, and delay the stream. What must not be missed is
 * a frame. The library logs the same with SLF4J.
 */
public interface Listener {
    /**
     * A session that ended, or could not be opened.
     *
     * @param cause for people
     * @param isViolation true if the cause is a frame that proves that events were lost or repeated on the way
     * @param retryIn delay before the next attempt
     */
    record Disconnected(String cause, boolean isViolation, Duration retryIn) {}

    /**
     * A session begins.
     *
     * @param session its id, the version of the gateway, the outcome of the start, and warnings about the request
     */
    default void onConnected(SessionStart session) {}

    /**
     * A session ended, or could not be opened; the library reconnects.
     *
     * @param disconnected cause and delay
     */
    default void onDisconnected(Disconnected disconnected) {}

    /**
     * Called at least once per heartbeat interval.
     *
     * @param heartbeat lag in records and time, low watermark, and the state of the upstream
     */
    default void onHeartbeat(Heartbeat heartbeat) {}

    /**
     * A gap opened, changed or closed, or is open at the start of a session.
     *
     * @param gap the gap
     */
    default void onGap(Gap gap) {}

    /**
     * The state of the upstream or the rules of the account changed.
     *
     * @param notice the change
     */
    default void onNotice(StreamNotice notice) {}

    /**
     * The gateway ends this session soon; the library reconnects.
     *
     * @param draining the reason
     */
    default void onDraining(Draining draining) {}
}
