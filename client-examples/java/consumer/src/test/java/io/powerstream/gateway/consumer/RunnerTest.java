package io.powerstream.gateway.consumer;

import static io.powerstream.gateway.consumer.ScriptedGateway.batch;
import static io.powerstream.gateway.consumer.ScriptedGateway.start;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.SubscribeResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class RunnerTest {
    private static final SubscribeOptions OPTIONS = SubscribeOptions.of("test");

    /** A store with the semantics of a transaction. It stops the runner at its last token. */
    private abstract static class Store implements Handler {
        final List<Long> ids = new ArrayList<>();
        final List<Long> dead = new ArrayList<>();
        final List<Integer> failures = new ArrayList<>();
        final String last;
        Optional<String> token = Optional.empty();
        Runner runner;

        Store(String last) {
            this.last = last;
        }

        @Override
        public Optional<String> load() {
            return token;
        }

        @Override
        public void handle(Frame frame) throws Exception {
            if (frame instanceof Frame.Batch batch) {
                fail(batch);
                batch.events().forEach(event -> ids.add(event.getPostId()));
                batch.deadLetters().forEach(letter -> dead.add(letter.event().getPostId()));
            }
            token = frame.token().or(() -> token);
            if (token.equals(Optional.of(last))) {
                runner.stop(Duration.ZERO);
            }
        }

        /** Fails, or does nothing. */
        abstract void fail(Frame.Batch batch) throws Exception;

        @Override
        public void onFailure(Failure failure) {
            failures.add(failure.attempt());
        }

        Store run(ScriptedGateway gateway) throws InterruptedException {
            runner = gateway.client().runner(OPTIONS, this);
            runner.run();
            return this;
        }
    }

    private static ScriptedGateway gateway(SubscribeResponse... responses) throws Exception {
        return new ScriptedGateway(List.of(List.of(responses)));
    }

    @Test
    void sequenceResumesBehindLastHandledFrame() throws Exception {
        var scripts = List.of(List.of(start("t0"), batch("t1", 2, 1, 2)), List.of(start("t1"), batch("t2", 1, 3)));
        try (ScriptedGateway gateway = new ScriptedGateway(scripts);
                Subscription subscription = gateway.client().subscribe(OPTIONS)) {
            List<Optional<String>> received = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                received.add(subscription.next().token());
            }
            assertEquals(List.of(Optional.of("t0"), Optional.of("t1"), Optional.of("t1"), Optional.of("t2")), received);
            assertEquals(List.of("", "t1"), gateway.tokens);
        }
    }

    @Test
    void failedHandlerIsCalledAgainBehindStoredToken() throws Exception {
        var first = List.of(start("t0"), batch("t1", 2, 1, 2), batch("t2", 3, 3));
        var scripts = List.of(first, List.of(start("t1"), batch("t2", 1, 3)));
        try (ScriptedGateway gateway = new ScriptedGateway(scripts)) {
            Store store = new Store("t2") {
                @Override
                void fail(Frame.Batch batch) throws Exception {
                    if (batch.token().equals(Optional.of("t2")) && failures.isEmpty()) {
                        throw new Exception("database is locked");
                    }
                }
            }.run(gateway);
            assertEquals(List.of("", "t1"), gateway.tokens);
            assertEquals(List.of(1L, 2L, 3L), store.ids);
            assertEquals(List.of(1), store.failures);
        }
    }

    @Test
    void poisonPostIsHandledAsDeadLetterOfItsBatch() throws Exception {
        List<Long> letters = new ArrayList<>();
        try (ScriptedGateway gateway = gateway(start("t0"), batch("t1", 3, 1, 2, 3))) {
            Store store = new Store("t1") {
                @Override
                void fail(Frame.Batch batch) {
                    Optional<Event> odd = batch.events().stream().filter(it -> it.getPostId() != 2).findFirst();
                    odd.ifPresent(event -> {
                        throw new PoisonException(event, new Exception("it is odd"));
                    });
                }

                @Override
                public void deadLetter(DeadLetter letter) {
                    letters.add(letter.event().getPostId());
                    assertEquals("it is odd", letter.reason());
                }
            }.run(gateway);
            assertEquals(List.of(2L), store.ids);
            assertEquals(List.of(1L, 3L), store.dead);
            assertEquals(List.of(1L, 3L), letters);
        }
    }

    @Test
    void unacceptedPoisonPostEndsRunner() throws Exception {
        try (ScriptedGateway gateway = gateway(start("t0"), batch("t1", 1, 1))) {
            Store store = new Store("t1") {
                @Override
                void fail(Frame.Batch batch) {
                    throw new PoisonException(batch.events().get(0), new Exception("no"));
                }
            };
            assertThrows(PoisonException.class, () -> store.run(gateway));
            assertEquals(List.of(), store.ids);
        }
    }

    @Test
    void stopReportsUnfinishedFrame() throws Exception {
        CountDownLatch isHandling = new CountDownLatch(1);
        CountDownLatch finish = new CountDownLatch(1);
        var executor = Executors.newSingleThreadExecutor();
        try (ScriptedGateway gateway = gateway(start("t0"), batch("t1", 1, 1))) {
            Store store = new Store("never") {
                @Override
                void fail(Frame.Batch batch) throws Exception {
                    isHandling.countDown();
                    finish.await();
                }
            };
            Runner runner = gateway.client().runner(OPTIONS, store);
            var running = executor.submit(() -> {
                runner.run();
                return store.token;
            });
            isHandling.await();
            Frame unfinished = runner.stop(Duration.ofMillis(10)).orElseThrow();
            assertEquals(Optional.of("t1"), unfinished.token());
            finish.countDown();
            assertEquals(Optional.of("t1"), running.get());
            assertEquals(Optional.empty(), runner.stop(Duration.ZERO));
        } finally {
            executor.shutdownNow();
        }
    }

    @Test
    void stopEndsSubscriptionThatWaits() throws Exception {
        var executor = Executors.newSingleThreadExecutor();
        try (ScriptedGateway gateway = gateway(start("t0"));
                Subscription subscription = gateway.client().subscribe(OPTIONS)) {
            assertEquals(Optional.of("t0"), subscription.next().token());
            var waiting = executor.submit(subscription::next);
            subscription.stop();
            assertSame(null, waiting.get());
        } finally {
            executor.shutdownNow();
        }
    }
}
