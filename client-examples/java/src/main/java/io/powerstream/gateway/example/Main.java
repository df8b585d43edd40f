package io.powerstream.gateway.example;

import java.io.IOException;
import java.util.logging.Level;
import java.util.logging.Logger;

/** A consumer of the gateway that survives everything: the loop of PROTOCOL.md in Java. */
public final class Main {
    /** Kept here, for loggers that nobody holds are forgotten with their level. */
    private static final Logger GRPC = Logger.getLogger("io.grpc");

    private Main() {}

    public static void main(String[] args) {
        // What it warns of, the loop says in a line of its own.
        GRPC.setLevel(Level.SEVERE);
        Stop stop = Stop.listen();
        Output output = new Output();
        Exit exit = Exit.DONE;
        try {
            load(args, output, stop).run();
        } catch (Failure failure) {
            output.say("error: " + failure.getMessage());
            exit = failure.exit;
        } catch (InterruptedException | RuntimeException error) {
            output.say("error: " + error);
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
            output.say("no --cursor-file: the resume token is kept in memory and gone with this process");
        }
        return new Consumer(config, cursor, output, stop);
    }
}
