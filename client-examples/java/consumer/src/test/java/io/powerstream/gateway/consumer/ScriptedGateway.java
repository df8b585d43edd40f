package io.powerstream.gateway.consumer;

import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.EventBatch;
import io.powerstream.gateway.v1.SessionStart;
import io.powerstream.gateway.v1.StreamServiceGrpc;
import io.powerstream.gateway.v1.SubscribeRequest;
import io.powerstream.gateway.v1.SubscribeResponse;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CopyOnWriteArrayList;

/** A gateway that sends these responses to each call in turn, and then ends it with UNAVAILABLE; the last call stays open. */
final class ScriptedGateway extends StreamServiceGrpc.StreamServiceImplBase implements AutoCloseable {
    private final Queue<List<SubscribeResponse>> scripts;
    private final Server server;
    /** Token of each call so far; empty without one. */
    final List<String> tokens = new CopyOnWriteArrayList<>();

    ScriptedGateway(List<List<SubscribeResponse>> scripts) throws IOException {
        this.scripts = new ArrayDeque<>(scripts);
        this.server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(this)
                .build()
                .start();
    }

    Client client() {
        return Client.builder("http://127.0.0.1:" + server.getPort()).build();
    }

    @Override
    public synchronized void subscribe(SubscribeRequest request, StreamObserver<SubscribeResponse> frames) {
        tokens.add(request.getResumeToken());
        List<SubscribeResponse> script = scripts.poll();
        if (script != null) {
            script.forEach(frames::onNext);
        }
        if (!scripts.isEmpty()) {
            frames.onError(Status.UNAVAILABLE.withDescription("as scripted").asRuntimeException());
        }
    }

    @Override
    public void close() {
        server.shutdownNow();
    }

    static SubscribeResponse start(String token) {
        return SubscribeResponse.newBuilder()
                .setResumeToken(token)
                .setSessionStart(SessionStart.getDefaultInstance())
                .build();
    }

    /** A batch with posts of these ids, which are their sequences too. */
    static SubscribeResponse batch(String token, long deliveredTotal, long... ids) {
        EventBatch.Builder batch = EventBatch.newBuilder().setDeliveredTotal(deliveredTotal);
        Arrays.stream(ids).forEach(id -> batch.addEvents(
                Event.newBuilder().setSequence(id).setPostId(id).setJson("{}")));
        return SubscribeResponse.newBuilder().setResumeToken(token).setEventBatch(batch).build();
    }
}
