package io.powerstream.gateway.example;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.powerstream.gateway.v1.Earliest;
import io.powerstream.gateway.v1.Latest;
import io.powerstream.gateway.v1.ResumePolicy;
import io.powerstream.gateway.v1.SubscribeRequest;
import io.powerstream.gateway.v1.TagFilter;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What CONNECT creates: the channel, the metadata, the request. */
final class Channels {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private Channels() {}

    /** A channel that shares nothing with the one before: name, addresses and authorities are looked up again. */
    static ManagedChannel open(Config config, Credential credential) throws IOException {
        return builder(config, credential)
                .defaultLoadBalancingPolicy("round_robin")
                .disableRetry()
                .keepAliveTime(Limits.KEEPALIVE_INTERVAL.toSeconds(), TimeUnit.SECONDS)
                .keepAliveTimeout(Limits.KEEPALIVE_TIMEOUT.toSeconds(), TimeUnit.SECONDS)
                .maxInboundMessageSize(Limits.FRAME_BYTES_MAX)
                // Session's listener only puts a frame into its queue.
                .directExecutor()
                .build();
    }

    private static ManagedChannelBuilder<?> builder(Config config, Credential credential) throws IOException {
        try {
            return Grpc.newChannelBuilder("dns:///" + config.addr(), security(config, credential));
        } catch (RuntimeException error) {
            // The files were read, but contain no certificate or no key; gRPC reports it with an exception that it does
            // not document.
            String files = Stream.of(config.caFile(), config.certFile(), config.keyFile())
                    .flatMap(Optional::stream)
                    .map(Path::toString)
                    .collect(Collectors.joining(", "));
            if (files.isEmpty()) {
                throw error;
            }
            throw new IOException("cannot use " + files + ": " + error.getMessage(), error);
        }
    }

    private static ChannelCredentials security(Config config, Credential credential) throws IOException {
        if (!config.tls()) {
            return InsecureChannelCredentials.create();
        }
        TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
        if (config.caFile().isPresent()) {
            Path path = config.caFile().get();
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

    static SubscribeRequest request(Config config, Optional<String> token) {
        SubscribeRequest.Builder request = SubscribeRequest.newBuilder()
                .setAccount(config.account())
                .setConsumer(config.consumer())
                .setFilter(TagFilter.newBuilder().addAllAnyOf(config.anyOf()))
                .setMaxBatchBytes(Limits.BATCH_BYTES_MAX)
                .setMaxBatchEvents(Limits.BATCH_EVENTS_MAX)
                .setHeartbeatInterval(com.google.protobuf.Duration.newBuilder()
                        .setSeconds(config.heartbeat().toSeconds()))
                .setResumePolicy(switch (config.resumePolicy()) {
                    case "earliest" -> ResumePolicy.RESUME_POLICY_EARLIEST;
                    case "latest" -> ResumePolicy.RESUME_POLICY_LATEST;
                    default -> ResumePolicy.RESUME_POLICY_FAIL;
                });
        if (token.isPresent()) {
            request.setResumeToken(token.get());
        } else if (config.start().equals("earliest")) {
            request.setEarliest(Earliest.getDefaultInstance());
        } else {
            request.setLatest(Latest.getDefaultInstance());
        }
        return request.build();
    }
}
