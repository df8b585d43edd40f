package io.powerstream.gateway.consumer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads with a {@link Handler} until it is stopped, and retries failures of the handler.
 *
 * <p>One thread calls {@link #run}; any other calls {@link #stop}, such as a shutdown hook.
 */
public final class Runner {
    private static final Logger LOG = LoggerFactory.getLogger(Runner.class);

    private final Client client;
    private final SubscribeOptions options;
    private final Handler handler;
    private final Backoff backoff = new Backoff(() -> ThreadLocalRandom.current().nextDouble());
    private final CountDownLatch stopped = new CountDownLatch(1);
    private final CountDownLatch ended = new CountDownLatch(1);
    /** Guarded by this. Null without one. */
    private Subscription subscription;
    /** Guarded by this. Null without one. */
    private Frame inHand;

    private int attempt;

    /** Failure of the handler, and not of the sequence. */
    private static final class HandlerFailure extends Exception {
        private static final long serialVersionUID = 1L;

        private final Exception error;

        HandlerFailure(Exception error) {
            super(error);
            this.error = error;
        }
    }

    Runner(Client client, SubscribeOptions options, Handler handler) {
        this.client = client;
        this.options = options;
        this.handler = handler;
    }

    /**
     * Reads until {@link #stop} is called. May be called once.
     *
     * @throws InterruptedException if the thread was interrupted
     * @throws StoppedException if a retry would fail again
     * @throws PermanentException if the handler has thrown it
     * @throws UnfinishedException if it was stopped, and the handler failed with the frame in hand
     */
    public void run() throws InterruptedException {
        try {
            client.verifyCredential();
            while (!isStopped()) {
                try {
                    read();
                } catch (HandlerFailure failure) {
                    retry(failure.error);
                }
            }
        } finally {
            ended.countDown();
        }
    }

    /**
     * Requests the end of {@link #run}, and waits for it. The handler may finish the frame in hand.
     *
     * @param timeout how long to wait
     * @return the frame that is not finished after this time, and is delivered again; empty if the runner has ended in order
     * @throws InterruptedException if the thread was interrupted
     */
    public Optional<Frame> stop(Duration timeout) throws InterruptedException {
        stopped.countDown();
        synchronized (this) {
            if (subscription != null) {
                subscription.stop();
            }
        }
        boolean hasEnded = ended.await(timeout.toNanos(), TimeUnit.NANOSECONDS);
        synchronized (this) {
            return hasEnded ? Optional.empty() : Optional.ofNullable(inHand);
        }
    }

    private boolean isStopped() {
        return stopped.getCount() == 0;
    }

    private void read() throws HandlerFailure, InterruptedException {
        try (Subscription opened = client.subscribe(options.token(load()))) {
            synchronized (this) {
                subscription = opened;
            }
            // A stop that came before the subscription was set has not stopped it.
            Frame frame;
            while (!isStopped() && (frame = opened.next()) != null) {
                setInHand(frame);
                handle(frame);
                setInHand(null);
                // The frames before a batch are repeated in each session, also if the batch fails every time.
                if (frame instanceof Frame.Batch) {
                    attempt = 0;
                    backoff.reset();
                }
            }
        }
    }

    private Optional<String> load() throws HandlerFailure, InterruptedException {
        try {
            return handler.load();
        } catch (InterruptedException error) {
            throw error;
        } catch (Exception error) {
            throw new HandlerFailure(error);
        }
    }

    /** Handles the frame; again without each event that is accepted as a dead letter. */
    private void handle(Frame received) throws HandlerFailure, InterruptedException {
        Frame frame = received;
        while (true) {
            try {
                handler.handle(frame);
                return;
            } catch (PoisonException error) {
                if (!(frame instanceof Frame.Batch batch)) {
                    throw error;
                }
                DeadLetter letter = new DeadLetter(error.event(), error);
                frame = without(batch, letter);
                accept(letter);
            } catch (InterruptedException error) {
                throw error;
            } catch (Exception error) {
                throw new HandlerFailure(error);
            }
        }
    }

    private void accept(DeadLetter letter) throws InterruptedException {
        try {
            handler.deadLetter(letter);
        } catch (InterruptedException | RuntimeException error) {
            throw error;
        } catch (Exception error) {
            throw new PermanentException("a dead letter was not accepted", error);
        }
    }

    @SuppressWarnings("ReferenceEquality") // One event, and not each that is equal to it.
    private static Frame.Batch without(Frame.Batch batch, DeadLetter letter) {
        List<DeadLetter> letters = new ArrayList<>(batch.deadLetters());
        letters.add(letter);
        var events = batch.events().stream().filter(event -> event != letter.event()).toList();
        if (events.size() == batch.events().size()) {
            // Without it the same batch would be handled for ever.
            throw new IllegalStateException("the event of a PoisonException is one of the batch in hand");
        }
        return new Frame.Batch(events, batch.phase(), batch.possibleDuplicate(), List.copyOf(letters), batch.token());
    }

    private void retry(Exception error) throws InterruptedException {
        if (error instanceof PermanentException permanent) {
            throw permanent;
        }
        Frame frame = frameInHand();
        if (isStopped()) {
            if (frame == null) {
                return;
            }
            throw new UnfinishedException(frame, error);
        }
        setInHand(null);
        attempt += 1;
        Duration wait = backoff.next(Optional.empty());
        LOG.warn("handler failed, attempt {}, retry in {} ms", attempt, wait.toMillis(), error);
        handler.onFailure(new Handler.Failure(error, attempt, wait));
        stopped.await(wait.toNanos(), TimeUnit.NANOSECONDS);
    }

    private synchronized void setInHand(Frame frame) {
        inHand = frame;
    }

    private synchronized Frame frameInHand() {
        return inHand;
    }
}
