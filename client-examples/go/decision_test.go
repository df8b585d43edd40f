package powerstream

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func statusOf(code codes.Code, domain, reason string, retryAfter time.Duration) *status.Status {
	end, err := status.New(code, "text").WithDetails(
		&errdetails.ErrorInfo{Domain: domain, Reason: reason}, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	if err != nil {
		panic(err)
	}
	return end
}

func TestReasonsAreClassified(t *testing.T) {
	cases := []struct {
		reason     string
		code       codes.Code
		credential credentialState
		kind       error
	}{
		{"DRAINING", codes.Unavailable, credentialNone, nil},
		{"FILTER_INVALID", codes.InvalidArgument, credentialNone, ErrInvalid},
		{"ACCESS_DENIED", codes.PermissionDenied, credentialSame, ErrRefused},
		{"TOKEN_INVALID", codes.InvalidArgument, credentialNone, ErrPosition},
		{"CREDENTIALS_EXPIRED", codes.Unauthenticated, credentialNone, ErrRefused},
		{"CREDENTIALS_EXPIRED", codes.Unauthenticated, credentialSame, nil},
		{"CREDENTIALS_INVALID", codes.Unauthenticated, credentialSame, ErrRefused},
		{"CREDENTIALS_INVALID", codes.Unauthenticated, credentialChanged, nil},
		{"CREDENTIALS_OF_TOMORROW", codes.Unavailable, credentialChanged, ErrRefused},
		{"OF_TOMORROW", codes.Unimplemented, credentialNone, ErrInvalid},
		{"OF_TOMORROW", codes.OutOfRange, credentialNone, ErrPosition},
		{"OF_TOMORROW", codes.Unauthenticated, credentialNone, ErrRefused},
		{"OF_TOMORROW", codes.Internal, credentialNone, nil},
	}
	for _, c := range cases {
		decided := decide(statusOf(c.code, domain, c.reason, 0), c.credential)
		if (decided.stop == nil) != (c.kind == nil) || (c.kind != nil && decided.stop.Kind != c.kind) {
			t.Errorf("%v: %+v", c, decided)
		}
	}
}

func TestReasonOfProxyIsIgnored(t *testing.T) {
	decided := decide(statusOf(codes.PermissionDenied, "proxy.example", "NO", time.Second), credentialNone)
	if decided.stop != nil || decided.why != "text" || decided.retryAfter != time.Second {
		t.Errorf("%+v", decided)
	}
}

func TestDelaysGrowAndRequestsAreBounded(t *testing.T) {
	for failures, least := range []time.Duration{250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000} {
		least *= time.Millisecond
		if delay := backoff(failures+1, 0); delay < least || delay >= least*3/2 {
			t.Errorf("failure %d: %s", failures+1, delay)
		}
	}
	for requested, delay := range map[time.Duration]time.Duration{1: backoffMin, time.Second: time.Second, time.Hour: retryAfterMax} {
		if got := backoff(9, requested); got != delay {
			t.Errorf("%s: %s", requested, got)
		}
	}
}
