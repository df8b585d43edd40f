package io.powerstream.gateway.example;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.grpc.Status.Code;
import io.powerstream.gateway.example.Decision.CredentialState;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class DecisionTest {
    private static final Exit BACK_OFF = null;

    @Test
    void theReasonDecidesAndTheCodeOnlyWhereTheReasonIsNotKnown() {
        check(Code.UNAVAILABLE, "DRAINING", CredentialState.NONE, BACK_OFF);
        check(Code.RESOURCE_EXHAUSTED, "CONSUMER_TOO_SLOW", CredentialState.NONE, BACK_OFF);
        check(Code.INTERNAL, "INTERNAL", CredentialState.NONE, BACK_OFF);
        check(Code.UNAVAILABLE, "RIGHTS_CHANGED", CredentialState.SAME, BACK_OFF);
        check(Code.PERMISSION_DENIED, "ACCESS_REVOKED", CredentialState.CHANGED, Exit.REFUSED);
        check(Code.INVALID_ARGUMENT, "FILTER_INVALID", CredentialState.NONE, Exit.USAGE);
        check(Code.INVALID_ARGUMENT, "TOKEN_INVALID", CredentialState.NONE, Exit.POSITION);
        check(Code.OUT_OF_RANGE, "POSITION_TOO_OLD", CredentialState.NONE, Exit.POSITION);
        check(Code.PERMISSION_DENIED, "ACCESS_DENIED", CredentialState.CHANGED, Exit.REFUSED);
        check(Code.OUT_OF_RANGE, "OF_TOMORROW", CredentialState.NONE, Exit.POSITION);
        check(Code.UNIMPLEMENTED, "OF_TOMORROW", CredentialState.NONE, Exit.USAGE);
        check(Code.UNAUTHENTICATED, "OF_TOMORROW", CredentialState.NONE, Exit.REFUSED);
        check(Code.ABORTED, "OF_TOMORROW", CredentialState.NONE, BACK_OFF);
    }

    @Test
    void credentialsThatMayBeRefreshedAreWaitedFor() {
        check(Code.UNAUTHENTICATED, "CREDENTIALS_EXPIRED", CredentialState.SAME, BACK_OFF);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_EXPIRED", CredentialState.NONE, Exit.REFUSED);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_INVALID", CredentialState.SAME, Exit.REFUSED);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_INVALID", CredentialState.CHANGED, BACK_OFF);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_REVOKED", CredentialState.SAME, Exit.REFUSED);
        check(Code.UNAUTHENTICATED, "CREDENTIALS_REVOKED", CredentialState.CHANGED, BACK_OFF);
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
                new Decision.BackOff("UNSOUND: x", Optional.empty()),
                Decision.decide(new Ending.Unsound("x", 2), CredentialState.NONE));
        assertEquals(
                new Decision.Stopped(Exit.UNSOUND, "UNSOUND: x"),
                Decision.decide(new Ending.Unsound("x", 3), CredentialState.NONE));
    }

    private static void check(Code code, String reason, CredentialState credential, Exit expected) {
        Ending ending = new Ending.OfStatus(code, "words", Optional.ofNullable(reason), Optional.empty());
        Exit exit = Decision.decide(ending, credential) instanceof Decision.Stopped stopped ? stopped.exit() : BACK_OFF;
        assertEquals(expected, exit, reason + " " + code);
    }
}
