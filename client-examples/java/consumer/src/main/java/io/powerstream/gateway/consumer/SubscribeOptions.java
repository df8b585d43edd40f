package io.powerstream.gateway.consumer;

import io.powerstream.gateway.v1.ResumePolicy;
import io.powerstream.gateway.v1.TagFilter;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.Objects;
import java.util.Optional;

/**
 * What to read, and from where. Immutable: each method returns a changed copy.
 *
 * @param consumer name of the consumer in the gateway's logs and metrics, at most 128 bytes
 * @param account account; empty if the gateway has one account, or a {@code default_account}
 * @param filter filter; the default is every event that the caller may read
 * @param token stored token of the last frame; empty at the first start
 * @param start start without a token
 * @param resumePolicy what to do if the token is older than the recovery window
 * @param heartbeat maximum time between two frames: whole seconds, 1 to 60
 */
public record SubscribeOptions(
        String consumer,
        String account,
        TagFilter filter,
        Optional<String> token,
        Start start,
        ResumePolicy resumePolicy,
        Duration heartbeat) {
    /** Start without a token. */
    public sealed interface Start {
        /** Only new events. */
        Start LATEST = new Latest();

        /** Everything that the log contains. */
        Start EARLIEST = new Earliest();

        /**
         * Starts at a time.
         *
         * @param time time of arrival of the first event
         * @return the start
         */
        static Start at(Instant time) {
            return new Time(time);
        }

        /** See {@link #LATEST}. */
        record Latest() implements Start {}

        /** See {@link #EARLIEST}. */
        record Earliest() implements Start {}

        /**
         * See {@link #at}.
         *
         * @param time time of arrival of the first event
         */
        record Time(Instant time) implements Start {}
    }

    /**
     * Creates options. Throws {@link InvalidException} if the heartbeat is out of range.
     *
     * @param consumer name of the consumer
     * @param account account, or empty
     * @param filter filter
     * @param token stored token, if there is one
     * @param start start without a token
     * @param resumePolicy what to do if the token is too old
     * @param heartbeat maximum time between two frames
     */
    public SubscribeOptions {
        Objects.requireNonNull(consumer);
        Objects.requireNonNull(account);
        Objects.requireNonNull(filter);
        Objects.requireNonNull(token);
        Objects.requireNonNull(start);
        Objects.requireNonNull(resumePolicy);
        if (!heartbeat.equals(Duration.ofSeconds(heartbeat.toSeconds())) || heartbeat.toSeconds() < 1 || heartbeat.toSeconds() > 60) {
            throw new InvalidException("", "heartbeat: whole seconds from 1 to 60 expected, not " + heartbeat);
        }
    }

    /**
     * Returns options with the defaults: all new events, a token that is too old is an error.
     *
     * @param consumer name of the consumer
     * @return the options
     */
    public static SubscribeOptions of(String consumer) {
        return new SubscribeOptions(
                consumer,
                "",
                TagFilter.getDefaultInstance(),
                Optional.empty(),
                Start.LATEST,
                ResumePolicy.RESUME_POLICY_FAIL,
                Duration.ofSeconds(10));
    }

    /**
     * Selects an account.
     *
     * @param account name of the account
     * @return changed options
     */
    public SubscribeOptions account(String account) {
        return new SubscribeOptions(consumer, account, filter, token, start, resumePolicy, heartbeat);
    }

    /**
     * Selects events.
     *
     * @param filter the filter
     * @return changed options
     */
    public SubscribeOptions filter(TagFilter filter) {
        return new SubscribeOptions(consumer, account, filter, token, start, resumePolicy, heartbeat);
    }

    /**
     * Selects events with at least one of these tags.
     *
     * @param tags tags, or prefixes that end with {@code *}; none means all events
     * @return changed options
     */
    public SubscribeOptions anyOf(Collection<String> tags) {
        return filter(TagFilter.newBuilder().addAllAnyOf(tags).build());
    }

    /**
     * Resumes.
     *
     * @param token stored token of the last frame, if there is one
     * @return changed options
     */
    public SubscribeOptions token(Optional<String> token) {
        return new SubscribeOptions(consumer, account, filter, token, start, resumePolicy, heartbeat);
    }

    /**
     * Sets the start without a token.
     *
     * @param start the start
     * @return changed options
     */
    public SubscribeOptions start(Start start) {
        return new SubscribeOptions(consumer, account, filter, token, start, resumePolicy, heartbeat);
    }

    /**
     * Sets what to do if the token is older than the recovery window.
     *
     * @param resumePolicy the policy; with the default, a {@link PositionException}
     * @return changed options
     */
    public SubscribeOptions resumePolicy(ResumePolicy resumePolicy) {
        return new SubscribeOptions(consumer, account, filter, token, start, resumePolicy, heartbeat);
    }

    /**
     * Sets the maximum time between two frames.
     *
     * @param heartbeat whole seconds, 1 to 60
     * @return changed options
     */
    public SubscribeOptions heartbeat(Duration heartbeat) {
        return new SubscribeOptions(consumer, account, filter, token, start, resumePolicy, heartbeat);
    }
}
