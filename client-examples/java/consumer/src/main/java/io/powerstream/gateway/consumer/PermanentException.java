package io.powerstream.gateway.consumer;

/** Thrown by a {@link Handler}: a further attempt would fail too. {@link Runner#run} throws it. */
public class PermanentException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * Creates the exception.
     *
     * @param text what failed
     * @param cause why; may be null
     */
    public PermanentException(String text, Throwable cause) {
        super(text, cause);
    }
}
