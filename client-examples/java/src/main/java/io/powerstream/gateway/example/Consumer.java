package io.powerstream.gateway.example;

import io.powerstream.gateway.v1.SubscribeResponse;
import java.io.IOException;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/** The loop of PROTOCOL.md: CONNECT, STREAMING, DECIDE, BACK_OFF, until STOPPED. LOAD is in Main. */
final class Consumer {
    private final Config config;
    private final CursorFile cursor;
    private final Output output;
    private final Stop stop;
    private final Backoff backoff = new Backoff(() -> ThreadLocalRandom.current().nextDouble());
    private Credential credential = Credential.NONE;
    /** Unsound frames in this process. */
    private int unsound;
    /** Events printed in this process. */
    private long printed;
    /** Delay that a Draining frame requested in this session. */
    private Optional<Duration> reconnectAfter = Optional.empty();

    Consumer(Config config, CursorFile cursor, Output output, Stop stop) {
        this.config = config;
        this.cursor = cursor;
        this.output = output;
        this.stop = stop;
    }

    void run() throws Failure, InterruptedException {
        while (!stop.isRequested()) {
            Optional<Ending> ending = connect();
            if (ending.isEmpty()) {
                return;
            }
            Decision decision = Decision.decide(ending.get(), credentialNow());
            if (decision instanceof Decision.Stopped stopped) {
                throw new Failure(stopped.exit(), stopped.words());
            }
            backOff((Decision.BackOff) decision);
        }
    }

    /** CONNECT: everything is new; then STREAMING until the session ends. Empty = STOPPED. */
    private Optional<Ending> connect() throws Failure, InterruptedException {
        reconnectAfter = Optional.empty();
        Session opened;
        try {
            credential = Credential.read(config);
            opened = Session.open(config, credential, cursor.token());
        } catch (IOException error) {
            return Optional.of(new Ending.Unreadable(error.getMessage()));
        }
        try (Session session = opened) {
            stop.onStop(session::stop);
            return stream(session);
        }
    }

    /** STREAMING: check, handle, store, frame by frame. */
    private Optional<Ending> stream(Session session) throws Failure, InterruptedException {
        Audit audit = new Audit();
        Duration silenceMax = config.heartbeat().multipliedBy(Limits.HEARTBEATS_MISSED_MAX);
        if (silenceMax.compareTo(Limits.CONNECT_WAIT_MAX) < 0) {
            silenceMax = Limits.CONNECT_WAIT_MAX;
        }
        while (true) {
            Session.Next next = session.next(silenceMax);
            if (stop.isRequested()) {
                return Optional.empty();
            }
            if (next instanceof Session.Next.Ended ended) {
                return Optional.of(ended.ending());
            }
            SubscribeResponse response = ((Session.Next.Frame) next).response();
            try {
                audit.check(response);
            } catch (Audit.Unsound error) {
                unsound += 1;
                return Optional.of(new Ending.Unsound(error.getMessage(), unsound));
            }
            if (response.hasSessionStart()) {
                backoff.reset();
                silenceMax = Ending.positive(response.getSessionStart().getHeartbeatInterval())
                        .map(granted -> granted.multipliedBy(Limits.HEARTBEATS_MISSED_MAX))
                        .orElse(silenceMax);
            } else if (response.hasDraining()) {
                reconnectAfter = Ending.positive(response.getDraining().getReconnectAfter());
            }
            handle(response);
            store(response.getResumeToken());
            if (stop.isRequested() || config.count().isPresent() && printed >= config.count().get()) {
                return Optional.empty();
            }
        }
    }

    /** In your service: what is to be done with the events. */
    private void handle(SubscribeResponse response) throws Failure {
        if (response.hasEventBatch()) {
            output.print(Lines.of(response.getEventBatch()));
            printed += response.getEventBatch().getEventsCount();
        } else {
            Words.of(response).forEach(output::printStatus);
        }
    }

    /** In your service: in the same transaction as the effect of the events. */
    private void store(String token) throws Failure {
        if (!token.isEmpty() && !cursor.token().equals(Optional.of(token))) {
            cursor.store(token);
        }
    }

    private void backOff(Decision.BackOff decision) throws InterruptedException {
        Duration wait = backoff.next(decision.retryDelay().or(() -> reconnectAfter));
        output.printStatus(String.format(Locale.ROOT, "%s; reconnecting in %.1f s", decision.words(), wait.toMillis() / 1e3));
        stop.sleep(wait);
    }

    private Decision.CredentialState credentialNow() {
        if (config.tokenFile().isEmpty() && config.certFile().isEmpty()) {
            return Decision.CredentialState.NONE;
        }
        try {
            boolean same = Credential.read(config).equals(credential);
            return same ? Decision.CredentialState.SAME : Decision.CredentialState.CHANGED;
        } catch (IOException error) {
            return Decision.CredentialState.SAME;
        }
    }
}
