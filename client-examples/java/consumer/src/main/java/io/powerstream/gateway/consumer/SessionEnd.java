package io.powerstream.gateway.consumer;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;

/** How a session ended, or the attempt to open one. */
sealed interface SessionEnd {
    String DOMAIN = "powerstream.gateway";

    /**
     * A status came, or the transport made one.
     *
     * @param reason the gateway's own; that of a proxy counts as none
     * @param retryDelay {@code RetryInfo.retry_delay}, where it is over 0
     */
    record OfStatus(Status.Code code, String text, Optional<String> reason, Optional<Duration> retryDelay)
            implements SessionEnd {}

    /** Nothing came for so long. */
    record Silence(Duration limit) implements SessionEnd {}

    /** A file that CONNECT needs cannot be read. */
    record Unreadable(String words) implements SessionEnd {}

    /** The gateway broke a promise, so many times in this process. */
    record Unsound(String words, int times) implements SessionEnd {}

    /** Reads the status that a call ended with, and its details. */
    static SessionEnd of(Status status, Metadata trailers) {
        Optional<String> reason = Optional.empty();
        Optional<Duration> retryDelay = Optional.empty();
        try {
            com.google.rpc.Status details = StatusProto.fromStatusAndTrailers(status, trailers);
            for (Any detail : details.getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = detail.unpack(ErrorInfo.class);
                    reason = info.getDomain().equals(DOMAIN) ? Optional.of(info.getReason()) : reason;
                } else if (detail.is(RetryInfo.class)) {
                    retryDelay = positive(detail.unpack(RetryInfo.class).getRetryDelay());
                }
            }
        } catch (InvalidProtocolBufferException | IllegalArgumentException error) {
            // Not what it should be: the same as none.
            return new OfStatus(status.getCode(), text(status), Optional.empty(), Optional.empty());
        }
        return new OfStatus(status.getCode(), text(status), reason, retryDelay);
    }

    /** A duration of the gateway; empty if it is not over 0. */
    static Optional<Duration> positive(com.google.protobuf.Duration duration) {
        try {
            Duration plain = Duration.ofSeconds(duration.getSeconds(), duration.getNanos());
            return Optional.of(plain).filter(it -> !it.isNegative() && !it.isZero());
        } catch (ArithmeticException error) {
            return Optional.empty();
        }
    }

    /** Inner causes are more specific than "io exception"; one that an outer cause repeats, as with the address, is not. */
    private static String text(Status status) {
        if (status.isOk()) {
            return "the gateway ended the stream";
        }
        String words = status.getDescription() == null ? status.getCode().name() : status.getDescription();
        String specific = "";
        for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
            String message = cause.getMessage();
            specific = message == null || specific.contains(message) ? specific : message;
        }
        return specific.isEmpty() ? words : words + ": " + specific;
    }
}
