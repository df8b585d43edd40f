package io.powerstream.gateway.example;

import com.google.protobuf.Timestamp;
import io.powerstream.gateway.v1.Gap;
import io.powerstream.gateway.v1.SessionStart;
import io.powerstream.gateway.v1.Skipped;
import io.powerstream.gateway.v1.StreamNotice;
import io.powerstream.gateway.v1.SubscribeResponse;
import io.powerstream.gateway.v1.TimeInterval;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Describes a frame for people, a line for each fact. */
final class Words {
    private Words() {}

    static List<String> of(SubscribeResponse response) {
        return switch (response.getFrameCase()) {
            case SESSION_START -> sessionStart(response.getSessionStart());
            case CAUGHT_UP -> List.of("caught up: live from here");
            case FELL_BEHIND -> List.of("fell behind by "
                    + Long.toUnsignedString(response.getFellBehind().getLagRecords())
                    + " records: late, nothing is lost");
            case GAP_NOTICE -> List.of(gap(response.getGapNotice().getGap()));
            case SKIPPED -> List.of(skipped(response.getSkipped()));
            case STREAM_NOTICE -> List.of(streamNotice(response.getStreamNotice()));
            case DRAINING -> List.of("draining ("
                    + name(response.getDraining().getReason(), response.getDraining().getReasonValue(), "DRAIN_REASON_")
                    + "): the gateway ends this session soon");
            case EVENT_BATCH, HEARTBEAT, FRAME_NOT_SET -> List.of();
        };
    }

    private static List<String> sessionStart(SessionStart start) {
        List<String> lines = new ArrayList<>();
        lines.add("session " + start.getSessionId() + " with gateway " + start.getServerVersion() + " on account "
                + start.getAccount() + ": " + name(start.getOutcome(), start.getOutcomeValue(), "START_OUTCOME_"));
        start.getMissingList().forEach(missing -> lines.add("missing: " + interval(missing)));
        start.getWarningsList().forEach(warning -> lines.add(
                "warning (" + name(warning.getCode(), warning.getCodeValue(), "WARNING_CODE_") + "): "
                        + warning.getMessage()));
        start.getOpenGapsList().forEach(gap -> lines.add(gap(gap)));
        return lines;
    }

    private static String gap(Gap gap) {
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

    private static String streamNotice(StreamNotice notice) {
        String kind = name(notice.getKind(), notice.getKindValue(), "STREAM_NOTICE_KIND_");
        return "upstream " + kind.replaceFirst("^upstream ", "") + ": " + notice.getMessage();
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
