package io.powerstream.gateway.example;

import io.powerstream.gateway.consumer.Client;
import io.powerstream.gateway.consumer.SubscribeOptions;
import java.nio.file.Path;
import java.util.Arrays;

/** Settings of the examples. In your service: its configuration. */
final class Environment {
    private Environment() {}

    static Client client() {
        Client.Builder client = Client.builder(variable("GATEWAY", "http://127.0.0.1:50051"));
        String bearerFile = variable("BEARER_FILE", "");
        return (bearerFile.isEmpty() ? client : client.bearerFile(Path.of(bearerFile))).build();
    }

    static SubscribeOptions options(String consumer) {
        var tags = Arrays.stream(variable("FILTER_TAGS", "").split(",")).filter(tag -> !tag.isEmpty());
        return SubscribeOptions.of(variable("CONSUMER", consumer))
                .account(variable("ACCOUNT", ""))
                .anyOf(tags.toList())
                .start(SubscribeOptions.Start.EARLIEST);
    }

    static String variable(String name, String absent) {
        String text = System.getenv(name);
        return text == null || text.isEmpty() ? absent : text;
    }
}
