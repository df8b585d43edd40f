package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.Gap;
import io.powerstream.gateway.v1.SubscribeResponse;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/** Reports what happens to the log and to the listener. */
final class Reporter {
    private static final Logger LOG = LoggerFactory.getLogger(Client.class);

    private final Listener listener;

    Reporter(Listener listener) {
        this.listener = listener;
    }

    void report(SubscribeResponse response) {
        switch (response.getFrameCase()) {
            case SESSION_START -> {
                Descriptions.of(response.getSessionStart()).forEach(LOG::info);
                listener.onConnected(response.getSessionStart());
                response.getSessionStart().getOpenGapsList().forEach(this::report);
            }
            case HEARTBEAT -> listener.onHeartbeat(response.getHeartbeat());
            case GAP_NOTICE -> report(response.getGapNotice().getGap());
            case STREAM_NOTICE -> {
                LOG.info("{}", Descriptions.of(response.getStreamNotice()));
                listener.onNotice(response.getStreamNotice());
            }
            case DRAINING -> {
                LOG.info("{}", Descriptions.of(response.getDraining()));
                listener.onDraining(response.getDraining());
            }
            case SKIPPED, FELL_BEHIND -> Frames.of(response).forEach(
                    frame -> Descriptions.of(frame).forEach(LOG::warn));
            case EVENT_BATCH, CAUGHT_UP, FRAME_NOT_SET -> {}
        }
    }

    void report(Listener.Disconnected disconnected) {
        LOG.warn("{}", Descriptions.of(disconnected));
        listener.onDisconnected(disconnected);
    }

    private void report(Gap gap) {
        boolean isLoss = gap.getClosed() && !gap.getComplete();
        LOG.atLevel(isLoss ? Level.WARN : Level.INFO).log(Descriptions.of(gap));
        listener.onGap(gap);
    }
}
