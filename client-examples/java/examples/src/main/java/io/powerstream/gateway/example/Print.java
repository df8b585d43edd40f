package io.powerstream.gateway.example;

import io.powerstream.gateway.consumer.Client;
import io.powerstream.gateway.consumer.FileCursor;
import io.powerstream.gateway.consumer.Frame;
import io.powerstream.gateway.consumer.SubscribeOptions;
import io.powerstream.gateway.consumer.Subscription;
import java.nio.file.Path;

/** Prints events. The token is in a file: after a kill, the last batch is printed again. */
public final class Print {
    private Print() {}

    /**
     * Runs the example.
     *
     * @param args none
     * @throws Exception if it cannot continue
     */
    public static void main(String[] args) throws Exception {
        Client client = Environment.client();
        SubscribeOptions options = Environment.options("print");
        FileCursor cursor = FileCursor.open(Path.of(options.consumer() + ".cursor"));
        try (Subscription subscription = client.subscribe(options.token(cursor.token()))) {
            Frame frame;
            while ((frame = subscription.next()) != null) {
                if (frame instanceof Frame.Batch batch) {
                    batch.events().forEach(event -> System.out.println(event.getPostId() + " " + event.getTagsList()));
                }
                cursor.store(frame.token());
            }
        }
    }
}
