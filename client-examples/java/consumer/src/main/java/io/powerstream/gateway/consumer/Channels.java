package io.powerstream.gateway.consumer;

import com.google.protobuf.Duration;
import com.google.protobuf.Timestamp;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.powerstream.gateway.v1.Earliest;
import io.powerstream.gateway.v1.Latest;
import io.powerstream.gateway.v1.SubscribeRequest;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** What CONNECT creates: the channel, the metadata, the request. */
final class Channels {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private Channels() {}

    /** A channel that shares nothing with the one before: name, addresses and authorities are looked up again. */
    static ManagedChannel open(Endpoint endpoint, Credential credential) throws IOException {
        return builder(endpoint, credential)
                .defaultLoadBalancingPolicy("round_robin")
                .disableRetry()
                .keepAliveTime(Limits.KEEPALIVE_INTERVAL.toSeconds(), TimeUnit.SECONDS)
                .keepAliveTimeout(Limits.KEEPALIVE_TIMEOUT.toSeconds(), TimeUnit.SECONDS)
                .maxInboundMessageSize(Limits.FRAME_BYTES_MAX)
                .build();
    }

    private static ManagedChannelBuilder<?> builder(Endpoint endpoint, Credential credential) throws IOException {
        try {
            return Grpc.newChannelBuilder("dns:///" + endpoint.authority(), security(endpoint, credential));
        } catch (RuntimeException error) {
            // The files were read, but contain no certificate or no key; gRPC reports it with an exception that it does
            // not document.
            String files = endpoint.tlsFiles();
            if (files.isEmpty()) {
                throw error;
            }
            throw new IOException("cannot use " + files + ": " + error.getMessage(), error);
        }
    }

    private static ChannelCredentials security(Endpoint endpoint, Credential credential) throws IOException {
        if (!endpoint.tls()) {
            return InsecureChannelCredentials.create();
        }
        TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
        if (endpoint.caFile().isPresent()) {
            Path path = endpoint.caFile().get();
            try {
                tls.trustManager(path.toFile());
            } catch (IOException error) {
                throw new IOException("cannot read " + path + ": " + error.getMessage(), error);
            }
        }
        if (credential.certificate().isPresent() && credential.key().isPresent()) {
            tls.keyManager(bytes(credential.certificate().get()), bytes(credential.key().get()));
        }
        return tls.build();
    }

    private static InputStream bytes(String pem) {
        return new ByteArrayInputStream(pem.getBytes(StandardCharsets.ISO_8859_1));
    }

    static Metadata metadata(Credential credential) {
        Metadata metadata = new Metadata();
        credential.token().ifPresent(token -> metadata.put(AUTHORIZATION, "Bearer " + token));
        return metadata;
    }

    static SubscribeRequest request(SubscribeOptions options, Optional<String> token) {
        SubscribeRequest.Builder request = SubscribeRequest.newBuilder()
                .setAccount(options.account())
                .setConsumer(options.consumer())
                .setFilter(options.filter())
                .setMaxBatchBytes(Limits.BATCH_BYTES_MAX)
                .setMaxBatchEvents(Limits.BATCH_EVENTS_MAX)
                .setHeartbeatInterval(Duration.newBuilder()
                        .setSeconds(options.heartbeat().toSeconds()))
                .setResumePolicy(options.resumePolicy());
        if (token.isPresent()) {
            request.setResumeToken(token.get());
        } else if (options.start() instanceof SubscribeOptions.Start.Time start) {
            Instant time = start.time();
            request.setStartTime(Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano()));
        } else if (options.start() instanceof SubscribeOptions.Start.Earliest) {
            request.setEarliest(Earliest.getDefaultInstance());
        } else {
            request.setLatest(Latest.getDefaultInstance());
        }
        return request.build();
    }
}
