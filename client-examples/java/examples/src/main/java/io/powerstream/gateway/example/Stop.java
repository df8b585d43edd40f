package io.powerstream.gateway.example;

import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;

/** Whether a signal requested a shutdown. */
final class Stop {
    /** Maximum time of a shutdown. */
    private static final Duration STOP_WAIT_MAX = Duration.ofSeconds(5);

    private final CountDownLatch requested = new CountDownLatch(1);
    private final AtomicReference<Runnable> wake = new AtomicReference<>(() -> {});

    /**
     * The first SIGTERM or SIGINT stops; a second one ends the process as the system does it. With a shutdown hook instead, the JVM
     * ends with 143.
     */
    static Stop listen(Output output) {
        Stop stop = new Stop();
        Runnable onSignal = () -> {
            stop.requested.countDown();
            stop.wake.get().run();
            endInTime(output);
        };
        try {
            handleOnce(onSignal);
        } catch (ReflectiveOperationException error) {
            output.printStatus("signals end the process at once: " + error);
        }
        return stop;
    }

    /** By reflection: javac warns of {@code sun.misc.Signal}, in a way that no annotation suppresses. */
    private static void handleOnce(Runnable onSignal) throws ReflectiveOperationException {
        Class<?> type = Class.forName("sun.misc.Signal");
        Class<?> handlerType = Class.forName("sun.misc.SignalHandler");
        Method handle = type.getMethod("handle", type, handlerType);
        List<Object> signals = new ArrayList<>();
        for (String name : List.of("TERM", "INT")) {
            signals.add(type.getConstructor(String.class).newInstance(name));
        }
        Object byDefault = handlerType.getField("SIG_DFL").get(null);
        Object handler = Proxy.newProxyInstance(
                Stop.class.getClassLoader(), new Class<?>[] {handlerType}, (proxy, method, arguments) -> {
                    for (Object signal : signals) {
                        handle.invoke(null, signal, byDefault);
                    }
                    onSignal.run();
                    return null;
                });
        for (Object signal : signals) {
            handle.invoke(null, signal, handler);
        }
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

    /** The reader of the output may have stopped reading. */
    private static void endInTime(Output output) {
        Thread thread = new Thread(() -> {
            try {
                Thread.sleep(STOP_WAIT_MAX.toMillis());
                output.printStatus("error: stopped within a frame: its token is not stored");
                Runtime.getRuntime().halt(Exit.FAILED.code);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }, "stop");
        thread.setDaemon(true);
        thread.start();
    }
}
