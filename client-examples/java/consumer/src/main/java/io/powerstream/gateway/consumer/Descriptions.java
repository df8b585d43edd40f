package io.powerstream.gateway.consumer;

import com.google.protobuf.Timestamp;
import io.powerstream.gateway.v1.Draining;
import io.powerstream.gateway.v1.Gap;
import io.powerstream.gateway.v1.SessionStart;
import io.powerstream.gateway.v1.Skipped;
import io.powerstream.gateway.v1.StreamNotice;
import io.powerstream.gateway.v1.TimeInterval;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Describes for people: a line for each fact. No text of a post occurs in it. */
public final class Descriptions {
    private Descriptions() {}

    /**
     * Describes a frame.
     *
     * @param frame the frame
     * @return the lines; none for events and for progress
     */
    public static List<String> of(Frame frame) {
        if (frame instanceof Frame.Gap gap) {
            return List.of(of(gap.gap()));
        }
        if (frame instanceof Frame.Missing missing) {
            return missing.intervals().stream().map(interval -> "missing: " + interval(interval)).toList();
        }
        if (frame instanceof Frame.Skipped skipped) {
            return List.of(skipped(skipped.skipped()));
        }
        if (frame instanceof Frame.RulesChanged changed) {
            return List.of("upstream rules changed: " + changed.message());
        }
        if (frame instanceof Frame.CaughtUp) {
            return List.of("caught up: live from here");
        }
        if (frame instanceof Frame.FellBehind behind) {
            String records = Long.toUnsignedString(behind.lag().getLagRecords());
            return List.of("fell behind by " + records + " records: late, nothing is lost");
        }
        return List.of();
    }

    /**
     * Describes the start of a session, and warnings about the request.
     *
     * @param start the start
     * @return the lines
     */
    public static List<String> of(SessionStart start) {
        List<String> lines = new ArrayList<>();
        lines.add("session " + start.getSessionId() + " with gateway " + start.getServerVersion() + " on account "
                + start.getAccount() + ": " + name(start.getOutcome(), start.getOutcomeValue(), "START_OUTCOME_"));
        start.getWarningsList().forEach(warning -> lines.add(
                "warning (" + name(warning.getCode(), warning.getCodeValue(), "WARNING_CODE_") + "): "
                        + warning.getMessage()));
        return lines;
    }

    /**
     * Describes a change of the upstream or of the rules.
     *
     * @param notice the change
     * @return the line
     */
    public static String of(StreamNotice notice) {
        String kind = name(notice.getKind(), notice.getKindValue(), "STREAM_NOTICE_KIND_");
        return "upstream " + kind.replaceFirst("^upstream ", "") + ": " + notice.getMessage();
    }

    /**
     * Describes the announced end of a session.
     *
     * @param draining the announcement
     * @return the line
     */
    public static String of(Draining draining) {
        String reason = name(draining.getReason(), draining.getReasonValue(), "DRAIN_REASON_");
        return "draining (" + reason + "): the gateway ends this session soon";
    }

    /**
     * Describes a disconnect and the delay before the next attempt.
     *
     * @param disconnected the disconnect
     * @return the line
     */
    public static String of(Listener.Disconnected disconnected) {
        String cause = (disconnected.isViolation() ? "" : "disconnected: ") + disconnected.cause();
        return String.format(Locale.ROOT, "%s; reconnecting in %.1f s", cause, disconnected.retryIn().toMillis() / 1e3);
    }

    /**
     * Describes a gap.
     *
     * @param gap the gap
     * @return the line
     */
    public static String of(Gap gap) {
        // Not by the state: a newer gateway may have further states.
        String incomplete = gap.getClosed() ? "POSTS ARE LOST" : "posts may be missing";
        String result = gap.getComplete() ? "every missing post was delivered" : incomplete;
        return "gap " + gap.getGapId() + (gap.getPrivate() ? " of this consumer " : " ")
                + name(gap.getState(), gap.getStateValue(), "GAP_STATE_") + ": " + interval(gap.getInterval()) + " ("
                + name(gap.getCause(), gap.getCauseValue(), "GAP_CAUSE_") + "): " + result;
    }

    private static String skipped(Skipped skipped) {
        return "skipped " + Long.toUnsignedString(skipped.getCount()) + " ("
                + name(skipped.getReason(), skipped.getReasonValue(), "SKIP_REASON_") + ") "
                + interval(skipped.getInterval()) + ": they cannot be delivered";
    }

    /** An enum's value without its prefix, as words; the number where it is unknown. */
    private static String name(Enum<?> value, int number, String prefix) {
        if (value.name().equals("UNRECOGNIZED")) {
            return Integer.toString(number);
        }
        return value.name().replaceFirst("^" + prefix, "").toLowerCase(Locale.ROOT).replace('_', ' ');
    }

    private static String interval(TimeInterval interval) {
        String start = interval.hasStartTime() ? instant(interval.getStartTime()) : "an unknown time";
        return "from " + start + " to " + (interval.hasEndTime() ? instant(interval.getEndTime()) : "now");
    }

    private static String instant(Timestamp time) {
        try {
            return Instant.ofEpochSecond(time.getSeconds(), time.getNanos()).toString();
        } catch (DateTimeException | ArithmeticException error) {
            return "a time out of range";
        }
    }
}
