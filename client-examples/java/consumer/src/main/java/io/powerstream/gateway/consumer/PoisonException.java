package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.Event;

/** Thrown by a {@link Handler} for an event that it cannot process: see {@link Handler#deadLetter}. */
public final class PoisonException extends PermanentException {
    private static final long serialVersionUID = 1L;

    /** The event. */
    private final Event event;

    /**
     * Creates the exception.
     *
     * @param event an element of the events of the batch
     * @param cause why it cannot be processed
     */
    public PoisonException(Event event, Throwable cause) {
        super("post " + Long.toUnsignedString(event.getPostId()) + " cannot be processed: " + cause.getMessage(), cause);
        this.event = event;
    }

    /**
     * Returns the event.
     *
     * @return the event that cannot be processed
     */
    public Event event() {
        return event;
    }
}
