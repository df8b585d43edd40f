package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.EventBatch;
import io.powerstream.gateway.v1.SubscribeResponse;

/** Verifies the frames of one session against each other. */
final class Validator {
    private boolean started;
    private long events;
    private long lastSequence;

    /** Something between the gateway's log and here lost or repeated events: what was expected and what came. */
    static final class Unsound extends Exception {
        private static final long serialVersionUID = 1L;

        Unsound(String words) {
            super(words);
        }
    }

    /** Verifies the next frame of the session. */
    void check(SubscribeResponse response) throws Unsound {
        boolean isStart = response.hasSessionStart();
        if (isStart == started) {
            throw new Unsound(isStart ? "a second SessionStart came" : "SessionStart expected, another frame came");
        }
        started = true;
        if (response.hasEventBatch()) {
            checkBatch(response.getEventBatch());
        } else if (response.hasHeartbeat()) {
            checkTotal(response.getHeartbeat().getDeliveredTotal());
        }
    }

    private void checkBatch(EventBatch batch) throws Unsound {
        for (Event event : batch.getEventsList()) {
            long sequence = event.getSequence();
            // 0: a post read back for this consumer alone, not in the log.
            if (sequence == 0) {
                continue;
            }
            if (Long.compareUnsigned(sequence, lastSequence) <= 0) {
                throw new Unsound("a sequence over " + Long.toUnsignedString(lastSequence) + " expected, "
                        + Long.toUnsignedString(sequence) + " came");
            }
            lastSequence = sequence;
        }
        events += batch.getEventsCount();
        checkTotal(batch.getDeliveredTotal());
    }

    private void checkTotal(long reported) throws Unsound {
        if (reported != events) {
            throw new Unsound("the gateway has delivered " + Long.toUnsignedString(reported)
                    + " events in this session, " + events + " came");
        }
    }
}
