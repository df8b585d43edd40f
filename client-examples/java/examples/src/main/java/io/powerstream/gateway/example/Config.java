package io.powerstream.gateway.example;

import io.powerstream.gateway.consumer.Client;
import io.powerstream.gateway.consumer.Listener;
import io.powerstream.gateway.consumer.SubscribeOptions;
import io.powerstream.gateway.v1.ResumePolicy;
import java.nio.file.Path;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Flags and environment: the table "Flags" of PROTOCOL.md.
 *
 * @param addr {@code HOST:PORT}
 * @param count end once so many events were printed
 */
record Config(
        String addr,
        boolean tls,
        Optional<Path> caFile,
        Optional<Path> certFile,
        Optional<Path> keyFile,
        Optional<Path> tokenFile,
        String account,
        String consumer,
        List<String> anyOf,
        Optional<Path> cursorFile,
        SubscribeOptions.Start start,
        String resumePolicy,
        Duration heartbeat,
        Optional<Long> count) {

    private static final Map<String, String> VARIABLES = Map.ofEntries(
            Map.entry("--addr", "GATEWAY_ADDR"),
            Map.entry("--ca-file", "GATEWAY_CA_FILE"),
            Map.entry("--cert-file", "GATEWAY_CERT_FILE"),
            Map.entry("--key-file", "GATEWAY_KEY_FILE"),
            Map.entry("--token-file", "GATEWAY_TOKEN_FILE"),
            Map.entry("--account", "GATEWAY_ACCOUNT"),
            Map.entry("--consumer", "GATEWAY_CONSUMER"),
            Map.entry("--any-of", "ANY_OF"),
            Map.entry("--cursor-file", "CURSOR_FILE"),
            Map.entry("--start", "START"),
            Map.entry("--resume-policy", "RESUME_POLICY"),
            Map.entry("--heartbeat", "HEARTBEAT"),
            Map.entry("--count", "COUNT"));

    private static final Pattern HOST_AND_PORT =
            Pattern.compile("(\\[[0-9a-fA-F:.]+\\]|[^\\s:/\\[\\]]+):(\\d{1,5})");

    static Config parse(String[] args, Map<String, String> environment) throws Failure {
        Map<String, String> given = given(args, environment);
        Optional<Path> caFile = path(given, "--ca-file");
        Optional<Path> certFile = path(given, "--cert-file");
        return new Config(
                hostAndPort(given.getOrDefault("--addr", "127.0.0.1:50051")),
                caFile.isPresent() || certFile.isPresent() || given.containsKey("--tls"),
                caFile,
                certFile,
                path(given, "--key-file"),
                path(given, "--token-file"),
                given.getOrDefault("--account", ""),
                given.getOrDefault("--consumer", "example-java"),
                anyOf(given.getOrDefault("--any-of", "")),
                path(given, "--cursor-file"),
                startOf(given.getOrDefault("--start", "latest")),
                oneOf(given, "--resume-policy", "fail", "earliest", "latest"),
                Duration.ofSeconds(wholeNumber("--heartbeat", given.getOrDefault("--heartbeat", "10"), 60)),
                given.containsKey("--count")
                        ? Optional.of(wholeNumber("--count", given.get("--count"), Long.MAX_VALUE))
                        : Optional.empty());
    }

    Client client(Listener listener) {
        Client.Builder client = Client.builder((tls ? "https://" : "http://") + addr).listener(listener);
        tokenFile.ifPresent(client::bearerFile);
        caFile.ifPresent(client::caFile);
        certFile.ifPresent(client::certFile);
        keyFile.ifPresent(client::keyFile);
        return client.build();
    }

    SubscribeOptions options() {
        return SubscribeOptions.of(consumer)
                .account(account)
                .anyOf(anyOf)
                .start(start)
                .resumePolicy(ResumePolicy.valueOf("RESUME_POLICY_" + resumePolicy.toUpperCase(Locale.ROOT)))
                .heartbeat(heartbeat);
    }

    /** Flags, and the variables of flags that are not given; an empty variable counts as unset. */
    private static Map<String, String> given(String[] args, Map<String, String> environment) throws Failure {
        Map<String, String> given = new HashMap<>();
        VARIABLES.forEach((flag, variable) -> {
            String text = environment.getOrDefault(variable, "");
            if (!text.isEmpty()) {
                given.put(flag, text);
            }
        });
        switch (environment.getOrDefault("GATEWAY_TLS", "")) {
            case "", "0" -> {}
            case "1" -> given.put("--tls", "");
            default -> throw Failure.usage("GATEWAY_TLS: 0 or 1 expected");
        }
        var rest = Arrays.asList(args).iterator();
        while (rest.hasNext()) {
            String[] flagAndValue = rest.next().split("=", 2);
            String flag = flagAndValue[0];
            if (flag.equals("--tls") && flagAndValue.length == 1) {
                given.put(flag, "");
            } else if (!VARIABLES.containsKey(flag)) {
                throw Failure.usage("there is no flag " + String.join("=", flagAndValue) + ": see PROTOCOL.md");
            } else if (flagAndValue.length == 2) {
                given.put(flag, flagAndValue[1]);
            } else if (rest.hasNext()) {
                given.put(flag, rest.next());
            } else {
                throw Failure.usage(flag + " needs a value");
            }
        }
        return given;
    }

    private static Optional<Path> path(Map<String, String> given, String flag) {
        return Optional.ofNullable(given.get(flag)).filter(text -> !text.isEmpty()).map(Path::of);
    }

    private static String hostAndPort(String text) throws Failure {
        String addr = text.replaceFirst("^dns:///", "");
        Matcher parts = HOST_AND_PORT.matcher(addr);
        if (!parts.matches() || Integer.parseInt(parts.group(2)) < 1 || Integer.parseInt(parts.group(2)) > 65_535) {
            throw Failure.usage("--addr: HOST:PORT expected, not \"" + text + "\"");
        }
        return addr;
    }

    private static List<String> anyOf(String text) {
        return Arrays.stream(text.split(",")).map(String::strip).filter(tag -> !tag.isEmpty()).toList();
    }

    /** The first choice is the default. */
    private static String oneOf(Map<String, String> given, String flag, String... choices) throws Failure {
        String text = given.getOrDefault(flag, choices[0]);
        if (!List.of(choices).contains(text)) {
            throw Failure.usage(flag + ": " + String.join(" or ", choices) + " expected, not \"" + text + "\"");
        }
        return text;
    }

    private static SubscribeOptions.Start startOf(String text) throws Failure {
        try {
            return switch (text) {
                case "latest" -> SubscribeOptions.Start.LATEST;
                case "earliest" -> SubscribeOptions.Start.EARLIEST;
                default -> SubscribeOptions.Start.at(OffsetDateTime.parse(text).toInstant());
            };
        } catch (DateTimeException error) {
            // No time: reported below.
        }
        throw Failure.usage("--start: latest, earliest or an RFC 3339 time expected, not \"" + text + "\"");
    }

    private static long wholeNumber(String flag, String text, long max) throws Failure {
        try {
            long number = text.matches("\\d+") ? Long.parseLong(text) : 0;
            if (number >= 1 && number <= max) {
                return number;
            }
        } catch (NumberFormatException error) {
            // Too long for a number: reported below.
        }
        throw Failure.usage(flag + ": a whole number from 1 to " + max + " expected, not \"" + text + "\"");
    }
}
