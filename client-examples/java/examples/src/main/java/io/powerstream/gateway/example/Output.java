package io.powerstream.gateway.example;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Lines for programs on stdout, words for people on stderr. */
final class Output {
    // System.out would hide that a line cannot be written.
    private final FileOutputStream lines = new FileOutputStream(FileDescriptor.out);
    private final PrintStream people = new PrintStream(System.err, true, StandardCharsets.UTF_8);

    /** Done once the system has taken it, so that a token stored after it is true. */
    void print(String text) throws Failure {
        try {
            lines.write(text.getBytes(StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new Failure(Exit.FAILED, "cannot write the output: " + error.getMessage());
        }
    }

    /** A text from outside stays on its line. */
    void printStatus(String line) {
        people.println(line.replaceAll("\\s+", " "));
    }
}
