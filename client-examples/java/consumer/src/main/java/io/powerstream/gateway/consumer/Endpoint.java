package io.powerstream.gateway.consumer;

import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Validated address of a gateway, and the files of the credential.
 *
 * @param authority {@code HOST:PORT}
 */
record Endpoint(
        String authority,
        boolean tls,
        Optional<Path> bearerFile,
        Optional<Path> caFile,
        Optional<Path> certFile,
        Optional<Path> keyFile) {
    private static final Pattern ADDRESS =
            Pattern.compile("(https?)://((\\[[0-9a-fA-F:.]+\\]|[^\\s:/\\[\\]]+):(\\d{1,5}))/?");

    /** Throws {@link InvalidException}. */
    static Endpoint of(
            String address,
            Optional<Path> bearerFile,
            Optional<Path> caFile,
            Optional<Path> certFile,
            Optional<Path> keyFile) {
        Matcher parts = ADDRESS.matcher(address);
        if (!parts.matches() || Integer.parseInt(parts.group(4)) < 1 || Integer.parseInt(parts.group(4)) > 65_535) {
            throw invalid("address: http://host:port or https://host:port expected, not \"" + address + "\"");
        }
        boolean tls = parts.group(1).equals("https");
        if (certFile.isPresent() != keyFile.isPresent()) {
            throw invalid("certificate and key are given together");
        }
        if (!tls && (caFile.isPresent() || certFile.isPresent())) {
            throw invalid("authorities and certificates need TLS: use an https address");
        }
        if (bearerFile.isPresent() && !tls && !isLoopback(parts.group(3))) {
            throw invalid("a credential is sent only over TLS or to a loopback host: use an https address");
        }
        return new Endpoint(parts.group(2), tls, bearerFile, caFile, certFile, keyFile);
    }

    /** Names of the files that the TLS library reads. */
    String tlsFiles() {
        return Stream.of(caFile, certFile, keyFile)
                .flatMap(Optional::stream)
                .map(Path::toString)
                .collect(Collectors.joining(", "));
    }

    private static boolean isLoopback(String host) {
        return host.equals("localhost") || host.equals("[::1]") || host.matches("127(\\.\\d{1,3}){3}");
    }

    private static InvalidException invalid(String text) {
        return new InvalidException("", text);
    }
}
