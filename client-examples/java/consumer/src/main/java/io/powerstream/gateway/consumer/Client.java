package io.powerstream.gateway.consumer;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Access to a gateway. It has no connection: each subscription has its own. Safe for use by several threads.
 *
 * <pre>{@code
 * Client client = Client.builder("http://127.0.0.1:50051").build();
 * try (Subscription subscription = client.subscribe(SubscribeOptions.of("indexer").token(load()))) {
 *     Frame frame;
 *     while ((frame = subscription.next()) != null) {
 *         store(frame); // effect and token, in one transaction
 *     }
 * }
 * }</pre>
 */
public final class Client {
    private final Endpoint endpoint;
    private final Reporter reporter;
    /** Unsound frames so far. */
    private final AtomicInteger violations = new AtomicInteger();

    private Client(Endpoint endpoint, Listener listener) {
        this.endpoint = endpoint;
        this.reporter = new Reporter(listener);
    }

    /**
     * Returns options.
     *
     * @param address {@code http://host:port}, or {@code https://host:port} for TLS
     * @return a builder
     */
    public static Builder builder(String address) {
        return new Builder(address);
    }

    /** Reads all files of the credential. Throws {@link InvalidException} if one cannot be read: useful at the start. */
    public void verifyCredential() {
        try {
            Credential.read(endpoint);
        } catch (IOException error) {
            throw new InvalidException("", error.getMessage());
        }
    }

    /**
     * Returns an endless sequence of frames. It connects at the first {@link Subscription#next}.
     *
     * @param options what to read, and from where
     * @return the sequence
     */
    public Subscription subscribe(SubscribeOptions options) {
        return new Subscription(endpoint, reporter, violations, options);
    }

    /**
     * Returns a loop that reads with a handler.
     *
     * @param options what to read; its token is not used
     * @param handler what to do with the frames
     * @return the loop
     */
    public Runner runner(SubscribeOptions options, Handler handler) {
        return new Runner(this, options, handler);
    }

    /** Options of a client. All files are read again for each session, so that a rotated credential takes effect. */
    public static final class Builder {
        private final String address;
        private Optional<Path> bearerFile = Optional.empty();
        private Optional<Path> caFile = Optional.empty();
        private Optional<Path> certFile = Optional.empty();
        private Optional<Path> keyFile = Optional.empty();
        private Listener listener = new Listener() {};

        private Builder(String address) {
            this.address = Objects.requireNonNull(address);
        }

        /**
         * Sets the file with the bearer token. It is sent only over TLS, or to a loopback host.
         *
         * @param file file whose first line is the token
         * @return this builder
         */
        public Builder bearerFile(Path file) {
            bearerFile = Optional.of(file);
            return this;
        }

        /**
         * Sets the authorities to trust. The default is those of the JVM.
         *
         * @param file PEM
         * @return this builder
         */
        public Builder caFile(Path file) {
            caFile = Optional.of(file);
            return this;
        }

        /**
         * Sets the client certificate. It is given together with its key.
         *
         * @param file PEM with the certificate and its intermediates
         * @return this builder
         */
        public Builder certFile(Path file) {
            certFile = Optional.of(file);
            return this;
        }

        /**
         * Sets the key of the client certificate.
         *
         * @param file PEM: PKCS#8, unencrypted
         * @return this builder
         */
        public Builder keyFile(Path file) {
            keyFile = Optional.of(file);
            return this;
        }

        /**
         * Sets the callbacks for metrics.
         *
         * @param listener the callbacks
         * @return this builder
         */
        public Builder listener(Listener listener) {
            this.listener = Objects.requireNonNull(listener);
            return this;
        }

        /**
         * Returns the client. Throws {@link InvalidException} if the options contradict each other.
         *
         * @return the client
         */
        public Client build() {
            return new Client(Endpoint.of(address, bearerFile, caFile, certFile, keyFile), listener);
        }
    }
}
