package io.powerstream.gateway.example;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.protobuf.ProtoUtils;
import io.powerstream.gateway.v1.SubscribeRequest;
import io.powerstream.gateway.v1.SubscribeResponse;
import java.io.IOException;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** One call of Subscribe on a channel of its own. Frames are pulled one by one: flow control reaches the gateway. */
final class Session implements AutoCloseable {
    private static final MethodDescriptor<SubscribeRequest, SubscribeResponse> SUBSCRIBE =
            MethodDescriptor.<SubscribeRequest, SubscribeResponse>newBuilder()
                    .setType(MethodDescriptor.MethodType.SERVER_STREAMING)
                    .setFullMethodName("powerstream.gateway.v1.StreamService/Subscribe")
                    .setRequestMarshaller(ProtoUtils.marshaller(SubscribeRequest.getDefaultInstance()))
                    .setResponseMarshaller(ProtoUtils.marshaller(SubscribeResponse.getDefaultInstance()))
                    .build();

    /** Result of {@link #next}. */
    sealed interface Next {
        record Frame(SubscribeResponse response) implements Next {}

        record Ended(Ending ending) implements Next {}

        /** A shutdown was requested. */
        record Stopped() implements Next {}
    }

    private final ManagedChannel channel;
    private final ClientCall<SubscribeRequest, SubscribeResponse> call;
    /** At most one frame, the end of the call, and the shutdown request. */
    private final BlockingQueue<Next> arrived = new LinkedBlockingQueue<>();

    private Session(ManagedChannel channel) {
        this.channel = channel;
        this.call = channel.newCall(SUBSCRIBE, CallOptions.DEFAULT);
    }

    static Session open(Config config, Credential credential, Optional<String> token) throws IOException {
        Session session = new Session(Channels.open(config, credential));
        session.call.start(session.new Listener(), Channels.metadata(credential));
        session.call.sendMessage(Channels.request(config, token));
        session.call.halfClose();
        return session;
    }

    /** The next frame. The watchdog is the wait of the queue: what is done between two frames is not silence. */
    Next next(Duration silenceMax) throws InterruptedException {
        call.request(1);
        Next next = arrived.poll(silenceMax.toNanos(), TimeUnit.NANOSECONDS);
        return next == null ? new Next.Ended(new Ending.Silence(silenceMax)) : next;
    }

    /** Wakes a {@link #next} that waits. */
    void stop() {
        arrived.add(new Next.Stopped());
    }

    /** A call that is not cancelled keeps its session at the gateway. */
    @Override
    public void close() {
        call.cancel("the consumer has left", null);
        channel.shutdownNow();
    }

    private final class Listener extends ClientCall.Listener<SubscribeResponse> {
        @Override
        public void onMessage(SubscribeResponse response) {
            arrived.add(new Next.Frame(response));
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            arrived.add(new Next.Ended(Ending.of(status, trailers)));
        }
    }
}
