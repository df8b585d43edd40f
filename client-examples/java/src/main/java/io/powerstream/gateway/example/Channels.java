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
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** What CONNECT makes anew: the channel, the metadata, the request. */
final class Channels {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private Channels() {}

    /** A channel that shares nothing with the one before: name, addresses and authorities are looked up anew. */
    static ManagedChannel open(Config config) throws IOException {
        return builder(config)
                .defaultLoadBalancingPolicy("round_robin")
                .disableRetry()
                .keepAliveTime(Limits.KEEPALIVE_INTERVAL.toSeconds(), TimeUnit.SECONDS)
                .keepAliveTimeout(Limits.KEEPALIVE_TIMEOUT.toSeconds(), TimeUnit.SECONDS)
                .maxInboundMessageSize(Limits.FRAME_BYTES_MAX)
                // Session's listener only puts a frame into its queue.
                .directExecutor()
                .build();
    }

    private static ManagedChannelBuilder<?> builder(Config config) throws IOException {
        try {
            return Grpc.newChannelBuilder("dns:///" + config.addr(), credentials(config));
        } catch (RuntimeException error) {
            if (config.caFile().isEmpty()) {
                throw error;
            }
            // The file was read, but holds no certificate; gRPC says so with an exception that it does not document.
            String words = "cannot read certificates from " + config.caFile().get() + ": " + error.getMessage();
            throw new IOException(words, error);
        }
    }

    private static ChannelCredentials credentials(Config config) throws IOException {
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
        return tls.build();
    }

    static Metadata metadata(Optional<String> credential) {
        Metadata metadata = new Metadata();
        credential.ifPresent(it -> metadata.put(AUTHORIZATION, "Bearer " + it));
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
