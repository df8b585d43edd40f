package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.Phase;
import io.powerstream.gateway.v1.RulesChange;
import io.powerstream.gateway.v1.TimeInterval;
import java.util.List;
import java.util.Optional;

/** Element of the sequence of a {@link Subscription}. */
public sealed interface Frame {
    /**
     * Returns the token that covers this frame and everything before it. Store it in the same transaction as the effect of the
     * frame.
     *
     * @return the token; empty if the position has not changed, and a later frame has the token
     */
    Optional<String> token();

    /**
     * Events in log order.
     *
     * @param events the events
     * @param phase delivery phase of the session
     * @param possibleDuplicate true if some events were perhaps delivered before: process them idempotently, by post id
     * @param deadLetters events that a {@link Runner} has removed from this batch: store them in the same transaction
     * @param token covers this frame and everything before it
     */
    record Batch(
            List<Event> events,
            Phase phase,
            boolean possibleDuplicate,
            List<DeadLetter> deadLetters,
            Optional<String> token)
            implements Frame {}

    /**
     * A gap of the upstream was detected or has changed. Posts are lost if it is closed and not complete. A gap that is open at the
     * start of a session is reported again: store gaps by their id.
     *
     * @param gap the gap with its new state
     * @param token covers this frame and everything before it
     */
    record Gap(io.powerstream.gateway.v1.Gap gap, Optional<String> token) implements Frame {}

    /**
     * Intervals that are not delivered, because the resume policy omitted them.
     *
     * @param intervals the intervals, in order; a start that is absent is not known
     * @param token covers this frame and everything before it
     */
    record Missing(List<TimeInterval> intervals, Optional<String> token) implements Frame {}

    /**
     * Messages or records that cannot be delivered.
     *
     * @param skipped number, reason, and interval of their arrival
     * @param token covers this frame and everything before it
     */
    record Skipped(io.powerstream.gateway.v1.Skipped skipped, Optional<String> token) implements Frame {}

    /**
     * The rules of the account changed.
     *
     * @param message description for people
     * @param change the change
     * @param orphanedTags tags of the filter that lost their last rule: no new post will have them
     * @param token covers this frame and everything before it
     */
    record RulesChanged(String message, RulesChange change, List<String> orphanedTags, Optional<String> token)
            implements Frame {}

    /**
     * The subscription reached the newest events.
     *
     * @param token covers this frame and everything before it
     */
    record CaughtUp(Optional<String> token) implements Frame {}

    /**
     * The subscription is late; no event is lost.
     *
     * @param lag how late
     * @param token covers this frame and everything before it
     */
    record FellBehind(io.powerstream.gateway.v1.FellBehind lag, Optional<String> token) implements Frame {}

    /**
     * The position moved without an event: only the token is to be stored.
     *
     * @param token covers everything before it
     */
    record Progress(Optional<String> token) implements Frame {}
}
