package io.powerstream.gateway.consumer;

/** A {@link Runner} was stopped, and its handler failed with the frame in hand. The frame is delivered again. */
public final class UnfinishedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** The frame in hand. Not serialized: frames are not serializable. */
    private final transient Frame frame;

    UnfinishedException(Frame frame, Throwable cause) {
        super("stopped with an unfinished frame, which is delivered again: " + cause.getMessage(), cause);
        this.frame = frame;
    }

    /**
     * Returns the frame in hand.
     *
     * @return the frame; null after deserialization
     */
    public Frame frame() {
        return frame;
    }
}
