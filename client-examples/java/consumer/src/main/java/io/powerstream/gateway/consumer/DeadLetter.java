package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.Event;

/**
 * An event that a {@link Handler} could not process.
 *
 * @param event the event
 * @param cause what the handler has thrown
 */
public record DeadLetter(Event event, PoisonException cause) {
    /**
     * Returns the cause, for people.
     *
     * @return the message of the error behind the {@link PoisonException}
     */
    public String reason() {
        return String.valueOf(cause.getCause().getMessage());
    }
}
