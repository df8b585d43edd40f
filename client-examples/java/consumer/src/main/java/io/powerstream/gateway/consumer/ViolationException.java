package io.powerstream.gateway.consumer;

/** Events were missing, repeated or out of order too often: an operator has to investigate. */
public final class ViolationException extends StoppedException {
    private static final long serialVersionUID = 1L;

    ViolationException(String text) {
        super("UNSOUND", text);
    }
}
