package main

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const domain = "powerstream.gateway"

// verdict is what follows from how a session ended: the table "Decide" of PROTOCOL.md.
type verdict struct {
	why        string
	retryAfter time.Duration // 0 = not said
	stop       int           // the exit code; 0 = BACK_OFF
}

// decide judges by the reason; by the code only where the reason is not known; an end without a reason is the network's.
func decide(status *status.Status, hasCredential, credentialChanged bool) verdict {
	reason, retryAfter := details(status)
	if reason == "" {
		return verdict{why: status.Message(), retryAfter: retryAfter}
	}
	verdict := verdict{why: reason + ": " + status.Message(), retryAfter: retryAfter}
	switch reason {
	case "DRAINING", "SESSION_ROTATED", "SESSION_TERMINATED", "RIGHTS_CHANGED", "AUTH_UNAVAILABLE", "NOT_LEADER", "NOT_READY",
		"SESSION_LIMIT", "CONNECTION_LIMIT", "CALL_LIMIT", "REPLAY_LIMIT", "RECOVERY_LIMIT", "FILTER_LIMIT", "CONSUMER_TOO_SLOW",
		"STREAM_DEADLINE", "INTERNAL":
	case "ACCOUNT_REQUIRED", "FILTER_INVALID", "START_INVALID":
		verdict.stop = exitUsage
	case "ACCESS_DENIED", "ACCESS_REVOKED", "TAG_DENIED":
		verdict.stop = exitRefused
	case "CREDENTIALS_EXPIRED":
		if !hasCredential {
			verdict.stop = exitRefused
		}
	case "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED":
		if !credentialChanged {
			verdict.stop = exitRefused
		}
	case "POSITION_TOO_OLD":
		verdict.why += "; --resume-policy earliest or latest continues without them"
		verdict.stop = exitPosition
	case "TOKEN_INVALID", "TOKEN_ACCOUNT_MISMATCH", "POSITION_IN_FUTURE", "EXACT_UNAVAILABLE":
		verdict.stop = exitPosition
	default:
		verdict.stop = byCode(status.Code())
	}
	return verdict
}

// byCode is for the reasons of a newer gateway.
func byCode(code codes.Code) int {
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented:
		return exitUsage
	case codes.OutOfRange:
		return exitPosition
	case codes.PermissionDenied, codes.Unauthenticated:
		return exitRefused
	}
	return 0
}

func details(status *status.Status) (reason string, retryAfter time.Duration) {
	for _, detail := range status.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain == domain {
				reason = detail.Reason
			}
		case *errdetails.RetryInfo:
			retryAfter = max(0, detail.RetryDelay.AsDuration())
		}
	}
	return reason, retryAfter
}
