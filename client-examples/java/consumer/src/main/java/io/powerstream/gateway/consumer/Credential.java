package io.powerstream.gateway.consumer;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/**
 * What CONNECT presents: a token, a client certificate with its key, both, or nothing.
 *
 * @param certificate PEM
 * @param key PEM
 */
record Credential(Optional<String> token, Optional<String> certificate, Optional<String> key) {
    static final Credential NONE = new Credential(Optional.empty(), Optional.empty(), Optional.empty());

    /** Reads all files of the credential again: any of them may have been rotated. */
    static Credential read(Endpoint endpoint) throws IOException {
        return new Credential(
                endpoint.bearerFile().isPresent() ? Optional.of(token(endpoint.bearerFile().get())) : Optional.empty(),
                endpoint.certFile().isPresent() ? Optional.of(pem(endpoint.certFile().get())) : Optional.empty(),
                endpoint.keyFile().isPresent() ? Optional.of(pem(endpoint.keyFile().get())) : Optional.empty());
    }

    /** The first line of the token file. */
    private static String token(Path path) throws IOException {
        String line = text(path).split("\n", 2)[0].strip();
        if (!line.matches("[\\x20-\\x7e]+")) {
            throw new IOException("cannot read a credential from " + path + ": its first line is empty or not ASCII");
        }
        return line;
    }

    private static String pem(Path path) throws IOException {
        String text = text(path);
        if (!text.contains("-----BEGIN ")) {
            throw new IOException("cannot read a credential from " + path + ": it contains no PEM");
        }
        return text;
    }

    private static String text(Path path) throws IOException {
        try {
            return new String(Files.readAllBytes(path), StandardCharsets.ISO_8859_1);
        } catch (IOException error) {
            throw new IOException("cannot read " + path + ": " + error, error);
        }
    }

    /** A record would print its content. */
    @Override
    public String toString() {
        return "Credential";
    }
}
