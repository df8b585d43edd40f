package io.powerstream.gateway.consumer;

/** The position cannot be served: too old, malformed, or of another account or log. */
public final class PositionException extends StoppedException {
    private static final long serialVersionUID = 1L;

    PositionException(String reason, String text) {
        super(reason, text);
    }
}
