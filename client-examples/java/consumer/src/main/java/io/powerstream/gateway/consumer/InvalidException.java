package io.powerstream.gateway.consumer;

/** The request or the options are invalid: the program or its configuration has to change. */
public final class InvalidException extends StoppedException {
    private static final long serialVersionUID = 1L;

    InvalidException(String reason, String text) {
        super(reason, text);
    }
}
