package io.powerstream.gateway.example;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** The credential: the first line of the token file. */
final class Credential {
    private Credential() {}

    static Optional<String> read(Optional<Path> path) throws IOException {
        if (path.isEmpty()) {
            return Optional.empty();
        }
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(path.get());
        } catch (IOException error) {
            throw new IOException("cannot read " + path.get() + ": " + error, error);
        }
        String line = new String(bytes, StandardCharsets.ISO_8859_1).split("\n", 2)[0].strip();
        if (!line.matches("[\\x20-\\x7e]+")) {
            throw new IOException(
                    "cannot read a credential from " + path.get() + ": its first line is empty or not ASCII");
        }
        return Optional.of(line);
    }
}
