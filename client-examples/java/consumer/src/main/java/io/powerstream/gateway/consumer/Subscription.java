package io.powerstream.gateway.consumer;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

/**
 * An endless sequence of frames that connects, reconnects and resumes by itself: the loop of PROTOCOL.md.
 *
 * <p>For each frame, store its effect and its token in one transaction, and call {@link #next} again. After a disconnect the
 * sequence continues behind the last frame for which the next one was requested; after a restart of the process, behind
 * the stored token.
 *
 * <p>{@link #stop} may be called by any thread, {@link #next} and {@link #close} by one thread.
 */
public final class Subscription implements AutoCloseable {
    private final Endpoint endpoint;
    private final Reporter reporter;
    private final AtomicInteger violations;
    private final SubscribeOptions options;
    private final CountDownLatch stopped = new CountDownLatch(1);
    /** The open session; null without one. */
    private final AtomicReference<Session> session = new AtomicReference<>();

    private final Backoff backoff = new Backoff(() -> ThreadLocalRandom.current().nextDouble());
    /** Frames of the last response that were not returned yet. */
    private final Queue<Frame> pending = new ArrayDeque<>();

    private Validator validator = new Validator();
    private Credential credential = Credential.NONE;
    /** Token of the last frame that was handled. */
    private Optional<String> token;
    /** Token of the frame that was returned last, which the caller handles. */
    private Optional<String> inHand = Optional.empty();
    /** Delay that a Draining frame of this session requested. */
    private Optional<Duration> reconnectAfter = Optional.empty();

    private Duration silenceMax = Duration.ZERO;

    Subscription(Endpoint endpoint, Reporter reporter, AtomicInteger violations, SubscribeOptions options) {
        this.endpoint = endpoint;
        this.reporter = reporter;
        this.violations = violations;
        this.options = options;
        this.token = options.token();
    }

    /**
     * Returns the next frame, and confirms the one before: its effect must be stored. Waits, connects and reconnects as needed.
     *
     * @return the frame; null once {@link #stop} was called
     * @throws StoppedException if a retry would fail again
     * @throws InterruptedException if the thread was interrupted; the sequence may be continued
     */
    public Frame next() throws InterruptedException {
        token = inHand.or(() -> token);
        inHand = Optional.empty();
        while (!isStopped()) {
            Frame frame = pending.poll();
            if (frame != null) {
                inHand = frame.token();
                return frame;
            }
            Optional<SessionEnd> end = session.get() == null ? connect() : receive(session.get());
            if (end.isPresent() && !isStopped()) {
                closeSession();
                backOff(end.get());
            }
        }
        closeSession();
        return null;
    }

    /** Ends the sequence: {@link #next} returns null, also where it waits. The frame in hand may be finished. */
    public void stop() {
        stopped.countDown();
        Session open = session.get();
        if (open != null) {
            open.close();
        }
    }

    /** Ends the sequence and closes its connection. */
    @Override
    public void close() {
        stop();
        closeSession();
    }

    boolean isStopped() {
        return stopped.getCount() == 0;
    }

    /** Waits; less if {@link #stop} is called. */
    void sleep(Duration wait) throws InterruptedException {
        stopped.await(wait.toNanos(), TimeUnit.NANOSECONDS);
    }

    /** CONNECT: creates everything again. */
    private Optional<SessionEnd> connect() {
        reconnectAfter = Optional.empty();
        validator = new Validator();
        silenceMax = options.heartbeat().multipliedBy(Limits.HEARTBEATS_MISSED_MAX);
        if (silenceMax.compareTo(Limits.CONNECT_WAIT_MAX) < 0) {
            silenceMax = Limits.CONNECT_WAIT_MAX;
        }
        try {
            credential = Credential.read(endpoint);
            session.set(Session.open(endpoint, credential, options, token));
        } catch (IOException error) {
            return Optional.of(new SessionEnd.Unreadable(error.getMessage()));
        }
        // A stop that came before the session was set has not closed it.
        if (isStopped()) {
            closeSession();
        }
        return Optional.empty();
    }

    /** STREAMING: the next response, verified. */
    private Optional<SessionEnd> receive(Session session) throws InterruptedException {
        Session.Next next = session.next(silenceMax);
        if (isStopped()) {
            return Optional.empty();
        }
        if (next instanceof Session.Next.Ended ended) {
            return Optional.of(ended.end());
        }
        var response = ((Session.Next.Response) next).response();
        try {
            validator.check(response);
        } catch (Validator.Unsound error) {
            return Optional.of(new SessionEnd.Unsound(error.getMessage(), violations.incrementAndGet()));
        }
        if (response.hasSessionStart()) {
            backoff.reset();
            silenceMax = SessionEnd.positive(response.getSessionStart().getHeartbeatInterval())
                    .map(granted -> granted.multipliedBy(Limits.HEARTBEATS_MISSED_MAX))
                    .orElse(silenceMax);
        } else if (response.hasDraining()) {
            reconnectAfter = SessionEnd.positive(response.getDraining().getReconnectAfter());
        }
        reporter.report(response);
        pending.addAll(Frames.of(response));
        return Optional.empty();
    }

    /** DECIDE and BACK_OFF. */
    private void backOff(SessionEnd end) throws InterruptedException {
        RetryPolicy decision = RetryPolicy.decide(end, credentialNow());
        if (decision instanceof RetryPolicy.Stopped stop) {
            stopped.countDown();
            throw stop.error();
        }
        var retry = (RetryPolicy.BackOff) decision;
        Duration wait = backoff.next(retry.retryDelay().or(() -> reconnectAfter));
        reporter.report(new Listener.Disconnected(retry.cause(), end instanceof SessionEnd.Unsound, wait));
        sleep(wait);
    }

    private void closeSession() {
        Session open = session.getAndSet(null);
        if (open != null) {
            open.close();
        }
    }

    private RetryPolicy.CredentialState credentialNow() {
        if (endpoint.bearerFile().isEmpty() && endpoint.certFile().isEmpty()) {
            return RetryPolicy.CredentialState.NONE;
        }
        try {
            boolean same = Credential.read(endpoint).equals(credential);
            return same ? RetryPolicy.CredentialState.SAME : RetryPolicy.CredentialState.CHANGED;
        } catch (IOException error) {
            return RetryPolicy.CredentialState.SAME;
        }
    }
}
