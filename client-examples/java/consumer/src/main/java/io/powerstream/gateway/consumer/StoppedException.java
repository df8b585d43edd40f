package io.powerstream.gateway.consumer;

/**
 * The sequence has ended, because a retry would fail again: what PROTOCOL.md calls STOPPED. Its subclasses state what an operator
 * has to change.
 */
public abstract sealed class StoppedException extends RuntimeException
        permits InvalidException, RefusedException, PositionException, ViolationException {
    private static final long serialVersionUID = 1L;

    /** Reason of the gateway; empty if the cause was found before a request was sent. */
    private final String reason;

    StoppedException(String reason, String text) {
        super(reason.isEmpty() ? text : reason + ": " + text);
        this.reason = reason;
    }

    /**
     * Returns the reason of the gateway, such as {@code TAG_DENIED}.
     *
     * @return the reason; empty if the cause was found before a request was sent
     */
    public String reason() {
        return reason;
    }
}
