package powerstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // Accepts gzip.
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// silenceError: the watchdog has cancelled the call.
type silenceError struct{ limit time.Duration }

func (e *silenceError) Error() string { return fmt.Sprintf("no frame for %g s", e.limit.Seconds()) }

// session is one Subscribe call on a channel of its own.
type session struct {
	credential     credential
	channel        *grpc.ClientConn
	stream         grpc.ServerStreamingClient[gatewayv1.SubscribeResponse]
	cancel         context.CancelCauseFunc
	ctx            context.Context
	audit          audit
	silenceMax     time.Duration
	reconnectAfter time.Duration
}

// connect reads the credential, makes a channel and begins the call. The session is returned with an error too, if there is
// one, because its credential decides what follows.
func (c *Client) connect(ctx context.Context, token string) (*session, error) {
	credential, err := readCredential(&c.config)
	if err != nil {
		return nil, err
	}
	channel, err := c.channel(credential)
	if err != nil {
		return nil, err
	}
	s := &session{
		credential: credential,
		channel:    channel,
		silenceMax: max(connectWaitMax, heartbeatsMissedMax*c.config.Heartbeat),
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	call := s.ctx
	if credential.bearer != "" {
		call = metadata.AppendToOutgoingContext(call, "authorization", "Bearer "+credential.bearer)
	}
	watchdog := s.watch()
	defer watchdog.Stop()
	s.stream, err = gatewayv1.NewStreamServiceClient(channel).Subscribe(call, c.request(token))
	if err != nil {
		return s, s.cause(err)
	}
	return s, nil
}

func (s *session) close() {
	s.cancel(nil)
	// It fails only if it is closed already.
	_ = s.channel.Close()
}

// next waits for the next message. The watchdog runs only here: handling is not silence.
func (s *session) next() (*gatewayv1.SubscribeResponse, error) {
	watchdog := s.watch()
	defer watchdog.Stop()
	message, err := s.stream.Recv()
	if err != nil {
		return nil, s.cause(err)
	}
	if err := s.audit.check(message); err != nil {
		return nil, err
	}
	switch frame := message.Frame.(type) {
	case *gatewayv1.SubscribeResponse_SessionStart:
		if effective := frame.SessionStart.HeartbeatInterval.AsDuration(); effective > 0 {
			s.silenceMax = heartbeatsMissedMax * effective
		}
	case *gatewayv1.SubscribeResponse_Draining:
		s.reconnectAfter = max(0, frame.Draining.ReconnectAfter.AsDuration())
	}
	return message, nil
}

func (s *session) watch() *time.Timer {
	return time.AfterFunc(s.silenceMax, func() { s.cancel(&silenceError{s.silenceMax}) })
}

// cause is why the call was cancelled, if the watchdog did it; else what the call ended with.
func (s *session) cause(err error) error {
	var silent *silenceError
	if errors.As(context.Cause(s.ctx), &silent) {
		return silent
	}
	return err
}

func (c *Client) request(token string) *gatewayv1.SubscribeRequest {
	request := &gatewayv1.SubscribeRequest{
		Account:           c.config.Account,
		Consumer:          c.config.Consumer,
		Filter:            c.config.Filter,
		ResumePolicy:      c.config.ResumePolicy,
		MaxBatchBytes:     batchBytesMax,
		MaxBatchEvents:    c.config.BatchEventsMax,
		HeartbeatInterval: durationpb.New(c.config.Heartbeat),
	}
	if request.ResumePolicy == gatewayv1.ResumePolicy_RESUME_POLICY_UNSPECIFIED {
		request.ResumePolicy = ResumeFail
	}
	start := &c.config.Start
	switch {
	case token != "":
		request.Start = &gatewayv1.SubscribeRequest_ResumeToken{ResumeToken: token}
	case start.earliest:
		request.Start = &gatewayv1.SubscribeRequest_Earliest{Earliest: &gatewayv1.Earliest{}}
	case !start.time.IsZero():
		request.Start = &gatewayv1.SubscribeRequest_StartTime{StartTime: timestamppb.New(start.time)}
	case start.lookback > 0:
		request.Start = &gatewayv1.SubscribeRequest_Lookback{Lookback: durationpb.New(start.lookback)}
	default:
		request.Start = &gatewayv1.SubscribeRequest_Latest{Latest: &gatewayv1.Latest{}}
	}
	return request
}

// channel makes a new one: nothing is shared with the one before, least of all its backoff.
func (c *Client) channel(credential credential) (*grpc.ClientConn, error) {
	security, err := c.security(credential)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("dns:///"+c.target,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(frameBytesMax)),
	)
}

// security is TLS with the authorities and the client certificate that the files contain now.
func (c *Client) security(credential credential) (credentials.TransportCredentials, error) {
	if !c.isTLS {
		return insecure.NewCredentials(), nil
	}
	authorities, err := readAuthorities(&c.config)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: authorities}
	if credential.certificate != nil {
		pair, err := tls.X509KeyPair(credential.certificate, credential.key)
		if err != nil {
			return nil, fmt.Errorf("cannot read a credential from %s and %s: %w", c.config.CertFile, c.config.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}
