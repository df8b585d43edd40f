package io.powerstream.gateway.example;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/** Whether a signal requested a shutdown. */
final class Stop {
    private final CountDownLatch requested = new CountDownLatch(1);
    private final AtomicReference<Runnable> wake = new AtomicReference<>(() -> {});

    /**
     * The first SIGTERM or SIGINT stops; a second one ends the process as the system does it. A shutdown hook would not
     * do: the JVM ends with 143 after it.
     */
    static Stop listen() {
        Stop stop = new Stop();
        SignalHandler handler = signal -> {
            Signal.handle(new Signal("TERM"), SignalHandler.SIG_DFL);
            Signal.handle(new Signal("INT"), SignalHandler.SIG_DFL);
            stop.requested.countDown();
            stop.wake.get().run();
            endInTime();
        };
        Signal.handle(new Signal("TERM"), handler);
        Signal.handle(new Signal("INT"), handler);
        return stop;
    }

    boolean isRequested() {
        return requested.getCount() == 0;
    }

    /** Runs at the shutdown request, from now on; one at a time. */
    void onStop(Runnable wake) {
        this.wake.set(wake);
        if (isRequested()) {
            wake.run();
        }
    }

    /** Waits; less if a shutdown is requested. */
    void sleep(Duration wait) throws InterruptedException {
        requested.await(wait.toNanos(), TimeUnit.NANOSECONDS);
    }

    /** The reader of the output may have stopped reading. */
    private static void endInTime() {
        Thread thread = new Thread(() -> {
            try {
                Thread.sleep(Limits.STOP_WAIT_MAX.toMillis());
                Runtime.getRuntime().halt(Exit.DONE.code);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }, "stop");
        thread.setDaemon(true);
        thread.start();
    }
}
