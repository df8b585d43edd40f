package io.powerstream.gateway.consumer;

import io.grpc.ManagedChannel;
import io.grpc.StatusException;
import io.grpc.Status;
import io.grpc.stub.BlockingClientCall;
import io.grpc.stub.MetadataUtils;
import io.powerstream.gateway.v1.StreamServiceGrpc;
import io.powerstream.gateway.v1.SubscribeResponse;
import java.io.IOException;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** One call of Subscribe on a channel of its own. Frames are pulled one by one: flow control reaches the gateway. */
final class Session implements AutoCloseable {
    /** Result of {@link #next}. */
    sealed interface Next {
        record Response(SubscribeResponse response) implements Next {}

        record Ended(SessionEnd end) implements Next {}
    }

    private final ManagedChannel channel;
    private final BlockingClientCall<?, SubscribeResponse> call;

    private Session(ManagedChannel channel, BlockingClientCall<?, SubscribeResponse> call) {
        this.channel = channel;
        this.call = call;
    }

    static Session open(Endpoint endpoint, Credential credential, SubscribeOptions options, Optional<String> token)
            throws IOException {
        ManagedChannel channel = Channels.open(endpoint, credential);
        var stub = StreamServiceGrpc.newBlockingV2Stub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(Channels.metadata(credential)));
        return new Session(channel, stub.subscribe(Channels.request(options, token)));
    }

    /** The next frame. The watchdog is the wait for it: what is done between two frames is not silence. */
    Next next(Duration silenceMax) throws InterruptedException {
        try {
            SubscribeResponse response = call.read(silenceMax.toNanos(), TimeUnit.NANOSECONDS);
            return response == null
                    ? new Next.Ended(SessionEnd.of(Status.OK, null))
                    : new Next.Response(response);
        } catch (TimeoutException error) {
            return new Next.Ended(new SessionEnd.Silence(silenceMax));
        } catch (StatusException error) {
            return new Next.Ended(SessionEnd.of(error.getStatus(), error.getTrailers()));
        }
    }

    /** Ends the call, and with it a {@link #next} that waits. A call that is not cancelled keeps its session at the gateway. */
    @Override
    public void close() {
        call.cancel("the consumer has left", null);
        channel.shutdownNow();
    }
}
