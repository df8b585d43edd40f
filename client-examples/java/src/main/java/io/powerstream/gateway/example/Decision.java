package io.powerstream.gateway.example;

import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;

/** What follows from how a session ended: the table "Decide" of PROTOCOL.md. */
sealed interface Decision {
    record BackOff(String words, Optional<Duration> retryDelay) implements Decision {}

    record Stopped(Exit exit, String words) implements Decision {}

    /** What this process knows about its credential. */
    enum CredentialState {
        NONE,
        SAME,
        CHANGED
    }

    /** By the reason; by the code only where the reason is not known. */
    static Decision decide(Ending ending, CredentialState credential) {
        if (ending instanceof Ending.Silence silence) {
            return new BackOff("disconnected: no frame for " + silence.limit().toSeconds() + " s", Optional.empty());
        }
        if (ending instanceof Ending.Unreadable unreadable) {
            return new BackOff("disconnected: " + unreadable.words(), Optional.empty());
        }
        if (ending instanceof Ending.Unsound unsound) {
            String words = "UNSOUND: " + unsound.words();
            return unsound.times() < Limits.UNSOUND_MAX
                    ? new BackOff(words, Optional.empty())
                    : new Stopped(Exit.UNSOUND, words);
        }
        return ofStatus((Ending.OfStatus) ending, credential);
    }

    private static Decision ofStatus(Ending.OfStatus ending, CredentialState credential) {
        if (ending.reason().isEmpty()) {
            return new BackOff("disconnected: " + ending.text(), ending.retryDelay());
        }
        String reason = ending.reason().get();
        String words = reason + ": " + ending.text();
        Optional<Exit> exit = exitOf(reason, ending.code(), credential);
        return exit.isEmpty()
                ? new BackOff("disconnected: " + words, ending.retryDelay())
                : new Stopped(exit.get(), words + advice(reason));
    }

    /** How the process ends over this reason; empty if it is worth coming back. */
    private static Optional<Exit> exitOf(String reason, Status.Code code, CredentialState credential) {
        return switch (reason) {
            case "DRAINING", "SESSION_ROTATED", "SESSION_TERMINATED", "RIGHTS_CHANGED", "AUTH_UNAVAILABLE", "NOT_LEADER",
                    "NOT_READY", "SESSION_LIMIT", "CONNECTION_LIMIT", "CALL_LIMIT", "REPLAY_LIMIT", "RECOVERY_LIMIT",
                    "FILTER_LIMIT", "CONSUMER_TOO_SLOW", "STREAM_DEADLINE", "INTERNAL" -> Optional.empty();
            case "CREDENTIALS_EXPIRED" -> refusedUnless(credential != CredentialState.NONE);
            case "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED" -> refusedUnless(credential == CredentialState.CHANGED);
            case "ACCESS_DENIED", "ACCESS_REVOKED", "TAG_DENIED" -> Optional.of(Exit.REFUSED);
            case "ACCOUNT_REQUIRED", "FILTER_INVALID", "START_INVALID" -> Optional.of(Exit.USAGE);
            case "POSITION_TOO_OLD", "POSITION_IN_FUTURE", "TOKEN_INVALID", "TOKEN_ACCOUNT_MISMATCH", "EXACT_UNAVAILABLE" ->
                Optional.of(Exit.POSITION);
            default -> reason.startsWith("CREDENTIALS_") ? Optional.of(Exit.REFUSED) : exitOf(code);
        };
    }

    private static Optional<Exit> refusedUnless(boolean worthComingBack) {
        return worthComingBack ? Optional.empty() : Optional.of(Exit.REFUSED);
    }

    private static Optional<Exit> exitOf(Status.Code code) {
        return switch (code) {
            case INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, UNIMPLEMENTED -> Optional.of(Exit.USAGE);
            case OUT_OF_RANGE -> Optional.of(Exit.POSITION);
            case PERMISSION_DENIED, UNAUTHENTICATED -> Optional.of(Exit.REFUSED);
            default -> Optional.empty();
        };
    }

    private static String advice(String reason) {
        boolean isTooOld = reason.equals("POSITION_TOO_OLD");
        return isTooOld ? "; --resume-policy earliest or latest continues without them" : "";
    }
}
