package io.powerstream.gateway.consumer;

import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;

/** What follows from how a session ended: the table "Decide" of PROTOCOL.md. */
sealed interface RetryPolicy {
    record BackOff(String cause, Optional<Duration> retryDelay) implements RetryPolicy {}

    record Stopped(StoppedException error) implements RetryPolicy {}

    /** What this process knows about its credential. */
    enum CredentialState {
        NONE,
        SAME,
        CHANGED
    }

    /** By the reason; by the code only where the reason is not known. */
    static RetryPolicy decide(SessionEnd ending, CredentialState credential) {
        if (ending instanceof SessionEnd.Silence silence) {
            return new BackOff("no frame for " + silence.limit().toSeconds() + " s", Optional.empty());
        }
        if (ending instanceof SessionEnd.Unreadable unreadable) {
            return new BackOff(unreadable.words(), Optional.empty());
        }
        if (ending instanceof SessionEnd.Unsound unsound) {
            String words = "UNSOUND: " + unsound.words();
            return unsound.times() < Limits.UNSOUND_MAX
                    ? new BackOff(words, Optional.empty())
                    : new Stopped(new ViolationException(unsound.words()));
        }
        return ofStatus((SessionEnd.OfStatus) ending, credential);
    }

    private static RetryPolicy ofStatus(SessionEnd.OfStatus ending, CredentialState credential) {
        if (ending.reason().isEmpty()) {
            return new BackOff(ending.text(), ending.retryDelay());
        }
        String reason = ending.reason().get();
        Optional<Stop> stop = stopOf(reason, ending.code(), credential);
        return stop.isEmpty()
                ? new BackOff(reason + ": " + ending.text(), ending.retryDelay())
                : new Stopped(stop.get().create(reason, ending.text()));
    }

    /** Creates the error of a reason. */
    interface Stop {
        StoppedException create(String reason, String text);
    }

    /** The error for this reason; empty if a retry may succeed. */
    private static Optional<Stop> stopOf(String reason, Status.Code code, CredentialState credential) {
        return switch (reason) {
            case "DRAINING", "SESSION_ROTATED", "SESSION_TERMINATED", "RIGHTS_CHANGED", "AUTH_UNAVAILABLE", "NOT_LEADER",
                    "NOT_READY", "SESSION_LIMIT", "CONNECTION_LIMIT", "CALL_LIMIT", "REPLAY_LIMIT", "RECOVERY_LIMIT",
                    "FILTER_LIMIT", "CONSUMER_TOO_SLOW", "STREAM_DEADLINE", "INTERNAL" -> Optional.empty();
            case "CREDENTIALS_EXPIRED" -> refusedUnless(credential != CredentialState.NONE);
            case "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED" ->
                refusedUnless(credential == CredentialState.CHANGED);
            case "ACCESS_DENIED", "ACCESS_REVOKED", "TAG_DENIED" -> Optional.of(RefusedException::new);
            case "ACCOUNT_REQUIRED", "FILTER_INVALID", "START_INVALID" -> Optional.of(InvalidException::new);
            case "POSITION_TOO_OLD", "POSITION_IN_FUTURE", "TOKEN_INVALID", "TOKEN_ACCOUNT_MISMATCH", "EXACT_UNAVAILABLE" ->
                Optional.of(PositionException::new);
            default -> reason.startsWith("CREDENTIALS_") ? Optional.of(RefusedException::new) : stopOfCode(code);
        };
    }

    private static Optional<Stop> refusedUnless(boolean mayRetry) {
        return mayRetry ? Optional.empty() : Optional.of(RefusedException::new);
    }

    private static Optional<Stop> stopOfCode(Status.Code code) {
        return switch (code) {
            case INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, UNIMPLEMENTED -> Optional.of(InvalidException::new);
            case OUT_OF_RANGE -> Optional.of(PositionException::new);
            case PERMISSION_DENIED, UNAUTHENTICATED -> Optional.of(RefusedException::new);
            default -> Optional.empty();
        };
    }
}
