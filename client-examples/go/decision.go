package powerstream

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// domain of the gateway's reasons; others come from proxies.
const domain = "powerstream.gateway"

// credentialState is what the files of the credential contain, compared with what the session sent.
type credentialState int

const (
	credentialNone credentialState = iota
	credentialSame
	credentialChanged
)

// decision is the next step after the end of a session: the table "Decide" of PROTOCOL.md.
type decision struct {
	why        string
	isUnsound  bool
	retryAfter time.Duration // 0 = not requested
	stop       *StoppedError // nil = reconnect
}

// decide classifies by the reason; by the code only if the reason is unknown. An end without a reason is one of the network.
func decide(end *status.Status, credential credentialState) decision {
	info, retryAfter := details(end)
	if info == nil {
		return decision{why: end.Message(), retryAfter: retryAfter}
	}
	decision := decision{why: info.Reason + ": " + end.Message(), retryAfter: retryAfter}
	if kind := stopKind(info.Reason, end.Code(), credential); kind != nil {
		decision.stop = &StoppedError{Kind: kind, Reason: info.Reason, Message: end.Message(), Metadata: info.Metadata}
	}
	return decision
}

// stopKind returns nil if a retry may succeed.
func stopKind(reason string, code codes.Code, credential credentialState) error {
	switch reason {
	case "DRAINING", "SESSION_ROTATED", "SESSION_TERMINATED", "RIGHTS_CHANGED", "AUTH_UNAVAILABLE", "NOT_LEADER", "NOT_READY",
		"SESSION_LIMIT", "CONNECTION_LIMIT", "CALL_LIMIT", "REPLAY_LIMIT", "RECOVERY_LIMIT", "FILTER_LIMIT", "CONSUMER_TOO_SLOW",
		"STREAM_DEADLINE", "INTERNAL":
		return nil
	case "ACCOUNT_REQUIRED", "FILTER_INVALID", "START_INVALID":
		return ErrInvalid
	case "ACCESS_DENIED", "ACCESS_REVOKED", "TAG_DENIED":
		return ErrRefused
	case "POSITION_TOO_OLD", "TOKEN_INVALID", "TOKEN_ACCOUNT_MISMATCH", "POSITION_IN_FUTURE", "EXACT_UNAVAILABLE":
		return ErrPosition
	}
	if strings.HasPrefix(reason, "CREDENTIALS_") {
		return refusedCredential(reason, credential)
	}
	return stopKindOfCode(code)
}

func refusedCredential(reason string, credential credentialState) error {
	switch reason {
	case "CREDENTIALS_EXPIRED":
		// Another process renews what has expired.
		if credential != credentialNone {
			return nil
		}
	case "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_REVOKED":
		if credential == credentialChanged {
			return nil
		}
	}
	return ErrRefused
}

// stopKindOfCode is for the reasons of a newer gateway.
func stopKindOfCode(code codes.Code) error {
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented:
		return ErrInvalid
	case codes.OutOfRange:
		return ErrPosition
	case codes.PermissionDenied, codes.Unauthenticated:
		return ErrRefused
	default:
		return nil
	}
}

func details(end *status.Status) (info *errdetails.ErrorInfo, retryAfter time.Duration) {
	for _, detail := range end.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain == domain {
				info = detail
			}
		case *errdetails.RetryInfo:
			retryAfter = max(0, detail.RetryDelay.AsDuration())
		}
	}
	return info, retryAfter
}
