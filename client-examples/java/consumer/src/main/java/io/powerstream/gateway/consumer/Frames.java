package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.EventBatch;
import io.powerstream.gateway.v1.SessionStart;
import io.powerstream.gateway.v1.StreamNotice;
import io.powerstream.gateway.v1.SubscribeResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Frames of a response. */
final class Frames {
    private Frames() {}

    /** Returns the frames. That with the token is the last one, so that nothing is confirmed before it was handled. */
    static List<Frame> of(SubscribeResponse response) {
        Optional<String> token = Optional.of(response.getResumeToken()).filter(text -> !text.isEmpty());
        return switch (response.getFrameCase()) {
            case SESSION_START -> sessionStart(response.getSessionStart(), token);
            case EVENT_BATCH -> {
                EventBatch batch = response.getEventBatch();
                yield List.of(new Frame.Batch(
                        batch.getEventsList(), batch.getPhase(), batch.getPossibleDuplicate(), List.of(), token));
            }
            case GAP_NOTICE -> List.of(new Frame.Gap(response.getGapNotice().getGap(), token));
            case SKIPPED -> List.of(new Frame.Skipped(response.getSkipped(), token));
            case CAUGHT_UP -> List.of(new Frame.CaughtUp(token));
            case FELL_BEHIND -> List.of(new Frame.FellBehind(response.getFellBehind(), token));
            case STREAM_NOTICE -> streamNotice(response.getStreamNotice(), token);
            // Kinds that this version does not know contain no event.
            case HEARTBEAT, DRAINING, FRAME_NOT_SET -> progress(token);
        };
    }

    private static List<Frame> sessionStart(SessionStart start, Optional<String> token) {
        List<Frame> frames = new ArrayList<>();
        if (start.getMissingCount() > 0) {
            frames.add(new Frame.Missing(start.getMissingList(), Optional.empty()));
        }
        start.getOpenGapsList().forEach(gap -> frames.add(new Frame.Gap(gap, Optional.empty())));
        frames.addAll(progress(token));
        return frames;
    }

    private static List<Frame> streamNotice(StreamNotice notice, Optional<String> token) {
        if (!notice.hasRuleChange()) {
            return progress(token);
        }
        return List.of(new Frame.RulesChanged(
                notice.getMessage(), notice.getRuleChange(), notice.getOrphanedTagsList(), token));
    }

    private static List<Frame> progress(Optional<String> token) {
        return token.isPresent() ? List.of(new Frame.Progress(token)) : List.of();
    }
}
