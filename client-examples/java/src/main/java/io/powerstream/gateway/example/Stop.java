package io.powerstream.gateway.example;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/** Whether a signal said to stop. */
final class Stop {
    private final CountDownLatch said = new CountDownLatch(1);
    private final AtomicReference<Runnable> wake = new AtomicReference<>(() -> {});

    /**
     * The first SIGTERM or SIGINT stops; a second one ends the process as the system does it. A shutdown hook would not
     * do: the JVM ends with 143 after it.
     */
    static Stop listen() {
        Stop stop = new Stop();
        SignalHandler heard = signal -> {
            Signal.handle(new Signal("TERM"), SignalHandler.SIG_DFL);
            Signal.handle(new Signal("INT"), SignalHandler.SIG_DFL);
            stop.said.countDown();
            stop.wake.get().run();
            endInTime();
        };
        Signal.handle(new Signal("TERM"), heard);
        Signal.handle(new Signal("INT"), heard);
        return stop;
    }

    boolean isSaid() {
        return said.getCount() == 0;
    }

    /** Runs when told to stop, from now on; one at a time. */
    void onStop(Runnable wake) {
        this.wake.set(wake);
        if (isSaid()) {
            wake.run();
        }
    }

    /** Waits; less if told to stop. */
    void sleep(Duration wait) throws InterruptedException {
        said.await(wait.toNanos(), TimeUnit.NANOSECONDS);
    }

    /** Whoever reads the output may have stopped reading. */
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
