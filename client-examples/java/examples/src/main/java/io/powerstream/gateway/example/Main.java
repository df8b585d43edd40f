package io.powerstream.gateway.example;

import io.powerstream.gateway.consumer.Client;
import io.powerstream.gateway.consumer.Descriptions;
import io.powerstream.gateway.consumer.FileCursor;
import io.powerstream.gateway.consumer.Frame;
import io.powerstream.gateway.consumer.Listener;
import io.powerstream.gateway.consumer.PositionException;
import io.powerstream.gateway.consumer.RefusedException;
import io.powerstream.gateway.consumer.StoppedException;
import io.powerstream.gateway.consumer.Subscription;
import io.powerstream.gateway.consumer.ViolationException;
import io.powerstream.gateway.v1.Draining;
import io.powerstream.gateway.v1.SessionStart;
import io.powerstream.gateway.v1.StreamNotice;
import java.io.IOException;
import java.util.Optional;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A consumer of the gateway as a program: prints posts as lines of JSON, and continues exactly where it stopped. */
public final class Main {
    /** Referenced here: a logger without a reference is collected, and its level with it. */
    private static final Logger GRPC = Logger.getLogger("io.grpc");

    private final Output output = new Output();

    private Main() {}

    /**
     * Runs the consumer.
     *
     * @param args the flags of PROTOCOL.md
     */
    public static void main(String[] args) {
        // The program reports the same in lines of its own.
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "off");
        GRPC.setLevel(Level.SEVERE);
        Main main = new Main();
        Stop stop = Stop.listen(main.output);
        Exit exit = Exit.DONE;
        try {
            main.run(Config.parse(args, System.getenv()), stop);
        } catch (Failure failure) {
            main.output.printStatus("error: " + failure.getMessage());
            exit = failure.exit;
        } catch (StoppedException error) {
            main.output.printStatus("error: " + error.getMessage() + advice(error));
            exit = exitOf(error);
        } catch (IOException error) {
            main.output.printStatus("error: " + error.getMessage());
            exit = Exit.FAILED;
        } catch (InterruptedException | RuntimeException error) {
            main.output.printStatus("error: " + error);
            exit = Exit.FAILED;
        }
        System.exit(exit.code);
    }

    private void run(Config config, Stop stop) throws Failure, IOException, InterruptedException {
        // LOAD
        Client client = config.client(listener());
        client.verifyCredential();
        Optional<FileCursor> cursor = Optional.empty();
        if (config.cursorFile().isPresent()) {
            cursor = Optional.of(FileCursor.open(config.cursorFile().get()));
        } else {
            output.printStatus("no --cursor-file: the resume token is in memory only and lost with this process");
        }
        long printed = 0;
        var options = config.options().token(cursor.flatMap(FileCursor::token));
        try (Subscription subscription = client.subscribe(options)) {
            stop.onStop(subscription::stop);
            Frame frame;
            while ((frame = subscription.next()) != null) {
                if (frame instanceof Frame.Batch batch) {
                    output.print(Lines.of(batch));
                    printed += batch.events().size();
                } else {
                    Descriptions.of(frame).forEach(output::printStatus);
                }
                if (cursor.isPresent()) {
                    cursor.get().store(frame.token());
                }
                if (config.count().isPresent() && printed >= config.count().get()) {
                    return;
                }
            }
        }
    }

    private Listener listener() {
        return new Listener() {
            @Override
            public void onConnected(SessionStart session) {
                Descriptions.of(session).forEach(output::printStatus);
            }

            @Override
            public void onDisconnected(Disconnected disconnected) {
                output.printStatus(Descriptions.of(disconnected));
            }

            @Override
            public void onNotice(StreamNotice notice) {
                // A change of the rules is a frame too.
                if (!notice.hasRuleChange()) {
                    output.printStatus(Descriptions.of(notice));
                }
            }

            @Override
            public void onDraining(Draining draining) {
                output.printStatus(Descriptions.of(draining));
            }
        };
    }

    private static Exit exitOf(StoppedException error) {
        if (error instanceof PositionException) {
            return Exit.POSITION;
        }
        if (error instanceof RefusedException) {
            return Exit.REFUSED;
        }
        return error instanceof ViolationException ? Exit.UNSOUND : Exit.USAGE;
    }

    private static String advice(StoppedException error) {
        boolean isTooOld = error.reason().equals("POSITION_TOO_OLD");
        return isTooOld ? "; --resume-policy earliest or latest continues without them" : "";
    }
}
