package io.powerstream.gateway.consumer;

/** The gateway rejects the caller: the credential or its rights have to change. */
public final class RefusedException extends StoppedException {
    private static final long serialVersionUID = 1L;

    RefusedException(String reason, String text) {
        super(reason, text);
    }
}
