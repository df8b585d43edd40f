package main

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const domain = "powerstream.gateway"

// decision is the next step after the end of a session: the table "Decide" of PROTOCOL.md.
type decision struct {
	why        string
	retryAfter time.Duration // 0 = not requested
	stop       int           // the exit code; 0 = BACK_OFF
}

// decide classifies by the reason; by the code only if the reason is unknown; an end without a reason is one of the network.
func decide(status *status.Status, hasCredential, credentialChanged bool) decision {
	reason, retryAfter := details(status)
	if reason == "" {
		return decision{why: status.Message(), retryAfter: retryAfter}
	}
	decision := decision{why: reason + ": " + status.Message(), retryAfter: retryAfter}
	switch reason {
	case "DRAINING", "SESSION_ROTATED", "SESSION_TERMINATED", "RIGHTS_CHANGED", "AUTH_UNAVAILABLE", "NOT_LEADER", "NOT_READY",
		"SESSION_LIMIT", "CONNECTION_LIMIT", "CALL_LIMIT", "REPLAY_LIMIT", "RECOVERY_LIMIT", "FILTER_LIMIT", "CONSUMER_TOO_SLOW",
		"STREAM_DEADLINE", "INTERNAL":
	case "ACCOUNT_REQUIRED", "FILTER_INVALID", "START_INVALID":
		decision.stop = exitUsage
	case "ACCESS_DENIED", "ACCESS_REVOKED", "TAG_DENIED":
		decision.stop = exitRefused
	case "CREDENTIALS_EXPIRED":
		if !hasCredential {
			decision.stop = exitRefused
		}
	case "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED":
		if !credentialChanged {
			decision.stop = exitRefused
		}
	case "POSITION_TOO_OLD":
		decision.why += "; --resume-policy earliest or latest continues without them"
		decision.stop = exitPosition
	case "TOKEN_INVALID", "TOKEN_ACCOUNT_MISMATCH", "POSITION_IN_FUTURE", "EXACT_UNAVAILABLE":
		decision.stop = exitPosition
	default:
		decision.stop = byCode(status.Code())
	}
	return decision
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
