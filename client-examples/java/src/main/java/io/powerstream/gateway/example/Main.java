package io.powerstream.gateway.example;

import java.io.IOException;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A consumer of the gateway that survives everything: the loop of PROTOCOL.md in Java. */
public final class Main {
    /** Referenced here: a logger without a reference is collected, and its level with it. */
    private static final Logger GRPC = Logger.getLogger("io.grpc");

    private Main() {}

    public static void main(String[] args) {
        // The loop reports the same failures in lines of its own.
        GRPC.setLevel(Level.SEVERE);
        Stop stop = Stop.listen();
        Output output = new Output();
        Exit exit = Exit.DONE;
        try {
            load(args, output, stop).run();
        } catch (Failure failure) {
            output.printStatus("error: " + failure.getMessage());
            exit = failure.exit;
        } catch (InterruptedException | RuntimeException error) {
            output.printStatus("error: " + error);
            exit = Exit.FAILED;
        }
        System.exit(exit.code);
    }

    /** LOAD. */
    private static Consumer load(String[] args, Output output, Stop stop) throws Failure {
        Config config = Config.parse(args, System.getenv());
        try {
            Credential.read(config);
        } catch (IOException error) {
            throw Failure.usage(error.getMessage());
        }
        CursorFile cursor = CursorFile.load(config.cursorFile());
        if (config.cursorFile().isEmpty()) {
            output.printStatus("no --cursor-file: the resume token is in memory only and lost with this process");
        }
        return new Consumer(config, cursor, output, stop);
    }
}
