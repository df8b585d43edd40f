package io.powerstream.gateway.consumer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.powerstream.gateway.consumer.RetryPolicy.CredentialState;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class RetryPolicyTest {
    private static final Class<?> BACK_OFF = null;

    @Test
    void theReasonDecidesAndTheCodeOnlyWhereTheReasonIsNotKnown() {
        check(Code.UNAVAILABLE, "DRAINING", CredentialState.NONE, BACK_OFF);
        check(Code.RESOURCE_EXHAUSTED, "CONSUMER_TOO_SLOW", CredentialState.NONE, BACK_OFF);
        check(Code.INTERNAL, "INTERNAL", CredentialState.NONE, BACK_OFF);
        check(Code.UNAVAILABLE, "RIGHTS_CHANGED", CredentialState.SAME, BACK_OFF);
        check(Code.PERMISSION_DENIED, "ACCESS_REVOKED", CredentialState.CHANGED, RefusedException.class);
        check(Code.INVALID_ARGUMENT, "FILTER_INVALID", CredentialState.NONE, InvalidException.class);
        check(Code.INVALID_ARGUMENT, "TOKEN_INVALID", CredentialState.NONE, PositionException.class);
        check(Code.OUT_OF_RANGE, "POSITION_TOO_OLD", CredentialState.NONE, PositionException.class);
        check(Code.PERMISSION_DENIED, "ACCESS_DENIED", CredentialState.CHANGED, RefusedException.class);
        check(Code.OUT_OF_RANGE, "OF_TOMORROW", CredentialState.NONE, PositionException.class);
        check(Code.UNIMPLEMENTED, "OF_TOMORROW", CredentialState.NONE, InvalidException.class);
        check(Code.UNAUTHENTICATED, "OF_TOMORROW", CredentialState.NONE, RefusedException.class);
        check(Code.ABORTED, "OF_TOMORROW", CredentialState.NONE, BACK_OFF);
    }

    @Test
    void credentialsThatMayBeRefreshedAreWaitedFor() {
        check(Code.UNAUTHENTICATED, "CREDENTIALS_EXPIRED", CredentialState.SAME, BACK_OFF);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_EXPIRED", CredentialState.NONE, RefusedException.class);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_INVALID", CredentialState.SAME, RefusedException.class);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_INVALID", CredentialState.CHANGED, BACK_OFF);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_REVOKED", CredentialState.SAME, RefusedException.class);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_REVOKED", CredentialState.CHANGED, BACK_OFF);
        check(Code.UNAVAILABLE, "CREDENTIALS_OF_TOMORROW", CredentialState.CHANGED, RefusedException.class);
    }

    @Test
    void anEndWithoutAReasonOfTheGatewayIsTheNetwork() {
        for (Code code : List.of(Code.OK, Code.UNAVAILABLE, Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)) {
            check(code, null, CredentialState.NONE, BACK_OFF);
        }
    }

    @Test
    void theThirdUnsoundFrameEndsTheProcess() {
        assertEquals(
                new RetryPolicy.BackOff("UNSOUND: x", Optional.empty()),
                RetryPolicy.decide(new SessionEnd.Unsound("x", 2), CredentialState.NONE));
        var last = (RetryPolicy.Stopped) RetryPolicy.decide(new SessionEnd.Unsound("x", 3), CredentialState.NONE);
        assertEquals("UNSOUND: x", last.error().getMessage());
        assertEquals(ViolationException.class, last.error().getClass());
    }

    @Test
    void theTextOfAFailedConnectNamesTheAddress() {
        Exception inner = new IOException("Connection refused");
        Exception outer = new IOException("Connection refused: /127.0.0.1:50051", inner);
        checkText("io exception: Connection refused: /127.0.0.1:50051", outer);
        checkText("io exception: PKIX path building failed", new IOException("handshake", new IOException("PKIX path building failed")));
        checkText("io exception: handshake", new IOException("handshake", new IOException()));
    }

    private static void checkText(String expected, Exception cause) {
        Status status = Status.UNAVAILABLE.withDescription("io exception").withCause(cause);
        var end = (SessionEnd.OfStatus) SessionEnd.of(status, new Metadata());
        assertEquals(expected, end.text());
    }

    private static void check(Code code, String reason, CredentialState credential, Class<?> expected) {
        SessionEnd ending = new SessionEnd.OfStatus(code, "words", Optional.ofNullable(reason), Optional.empty());
        RetryPolicy decision = RetryPolicy.decide(ending, credential);
        Class<?> stopped = decision instanceof RetryPolicy.Stopped stop ? stop.error().getClass() : BACK_OFF;
        assertEquals(expected, stopped, reason + " " + code);
    }
}
