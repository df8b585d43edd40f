package io.powerstream.gateway.consumer;

import java.time.Duration;
import java.util.Optional;

/**
 * What a {@link Runner} does with frames, and with errors.
 *
 * <ul>
 *   <li>{@link #load} and {@link #handle} may fail for a while, as with a database that restarts: the runner waits, at first 250 ms
 *       and at most 45 s, reloads the token, and continues there. Without an end: alert on {@link #onFailure}.
 *   <li>A {@link PermanentException} ends the runner with it.
 *   <li>A {@link PoisonException} names an event that cannot be processed: see {@link #deadLetter}.
 * </ul>
 */
public interface Handler {
    /**
     * A failure after which the runner continues.
     *
     * @param error what {@link Handler#load} or {@link Handler#handle} has thrown
     * @param attempt failures since the last batch that was handled, this one included
     * @param retryIn delay before the next attempt
     */
    record Failure(Exception error, int attempt, Duration retryIn) {}

    /**
     * Returns the stored token.
     *
     * @return the token; empty at the first start
     * @throws Exception if the token cannot be loaded now
     */
    Optional<String> load() throws Exception;

    /**
     * Stores the effect of a frame and its token, if it has one, in one transaction.
     *
     * @param frame the frame
     * @throws Exception if nothing was stored
     */
    void handle(Frame frame) throws Exception;

    /**
     * Accepts a poison post, once for each: the batch is then handled again without the event, which is among its dead letters,
     * so that it is stored in the same transaction. By default it is not accepted, and ends the runner.
     *
     * @param letter the event, with the cause
     * @throws Exception to end the runner
     */
    default void deadLetter(DeadLetter letter) throws Exception {
        throw letter.cause();
    }

    /**
     * Reports a failure after which the runner continues. The runner logs it too.
     *
     * @param failure the failure
     */
    default void onFailure(Failure failure) {}
}
