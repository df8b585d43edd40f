package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // Accepts gzip.
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	gateway "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// stopped leads to STOPPED: an exit code and its cause; the cause is nil after a signal or --count.
type stopped struct {
	code int
	err  error
}

func (s *stopped) Error() string { return fmt.Sprintf("exit code %d: %v", s.code, s.err) }

// errSilent: the watchdog has cancelled the call.
type errSilent struct{ limit time.Duration }

func (e errSilent) Error() string { return fmt.Sprintf("no frame for %g s", e.limit.Seconds()) }

// consumer is the loop: CONNECT, STREAMING, DECIDE, BACK_OFF, STOPPED, as PROTOCOL.md specifies them.
type consumer struct {
	config  *config
	cursor  *cursorFile
	handler *printer
	// Entries into BACK_OFF since the last sound frame.
	failures int
	unsound  int
	// Events to print before it ends; counts only if the config has a count.
	left int64
}

// session is one Subscribe call on a channel of its own.
type session struct {
	credential     credential
	channel        *grpc.ClientConn
	stream         grpc.ServerStreamingClient[gateway.SubscribeResponse]
	cancel         context.CancelCauseFunc
	ctx            context.Context
	audit          audit
	silenceMax     time.Duration
	reconnectAfter time.Duration
}

// run returns when ctx is done, or when a retry would fail again: always with a *stopped.
func (c *consumer) run(ctx context.Context) error {
	for {
		decision, err := c.connectAndStream(ctx)
		if err != nil {
			return err
		}
		if decision.stop != 0 {
			return &stopped{decision.stop, errors.New(decision.why)}
		}
		if err := c.backOff(ctx, decision); err != nil {
			return err
		}
	}
}

// connectAndStream is CONNECT and STREAMING, and DECIDE at their end.
func (c *consumer) connectAndStream(ctx context.Context) (decision, error) {
	session, err := c.connect(ctx)
	if err != nil {
		return c.decide(ctx, session, err)
	}
	defer session.channel.Close()
	defer session.cancel(nil)
	return c.decide(ctx, session, c.stream(ctx, session))
}

func (c *consumer) connect(ctx context.Context) (*session, error) {
	credential, err := readCredential(c.config)
	if err != nil {
		return nil, err
	}
	channel, err := c.channel(credential)
	if err != nil {
		return nil, err
	}
	session := &session{
		credential: credential,
		channel:    channel,
		silenceMax: max(connectWaitMax, heartbeatsMissedMax*c.config.heartbeat),
	}
	session.ctx, session.cancel = context.WithCancelCause(ctx)
	call := session.ctx
	if credential.token != "" {
		call = metadata.AppendToOutgoingContext(call, "authorization", "Bearer "+credential.token)
	}
	watchdog := session.watch()
	defer watchdog.Stop()
	session.stream, err = gateway.NewStreamServiceClient(channel).Subscribe(call, c.request())
	if err != nil {
		err = session.cause(err)
		session.cancel(nil)
		channel.Close()
		return session, err
	}
	return session, nil
}

func (c *consumer) stream(ctx context.Context, session *session) error {
	for {
		frame, err := session.next()
		if ctx.Err() != nil {
			// No further frame is processed.
			return &stopped{code: exitDone}
		}
		if err != nil {
			return err
		}
		if err := session.audit.check(frame); err != nil {
			return err
		}
		c.failures = 0
		session.learn(frame)
		if err := c.handle(frame); err != nil {
			return &stopped{exitFailed, err}
		}
		if c.config.count > 0 && c.left <= 0 {
			return &stopped{code: exitDone}
		}
	}
}

// handle prints the frame first and stores its token afterwards, never in the other order.
func (c *consumer) handle(frame *gateway.SubscribeResponse) error {
	if batch := frame.GetEventBatch(); batch != nil {
		if err := c.handler.handle(batch); err != nil {
			return fmt.Errorf("cannot write the output: %w", plain(err))
		}
		c.left -= int64(len(batch.Events))
	} else {
		for _, line := range words(frame) {
			printStatus("%s", line)
		}
	}
	if frame.ResumeToken == "" {
		return nil
	}
	if err := c.handler.flush(); err != nil {
		return fmt.Errorf("cannot write the output: %w", plain(err))
	}
	return c.cursor.store(frame.ResumeToken)
}

// decide classifies the end of the session; an error leads to STOPPED.
func (c *consumer) decide(ctx context.Context, session *session, end error) (decision, error) {
	var stop *stopped
	if errors.As(end, &stop) {
		return decision{}, stop
	}
	if ctx.Err() != nil {
		return decision{}, &stopped{code: exitDone}
	}
	var decided decision
	var wrong *unsound
	var silent errSilent
	if errors.As(end, &wrong) {
		decided = decision{why: wrong.Error()}
		if c.unsound++; c.unsound >= unsoundMax {
			decided.stop = exitUnsound
		}
	} else if errors.Is(end, io.EOF) {
		decided = decision{why: "disconnected: the gateway ended the stream"}
	} else if status, ok := status.FromError(end); ok && !errors.As(end, &silent) {
		credential, err := readCredential(c.config)
		hasCredential := c.config.tokenFile != "" || c.config.certFile != ""
		decided = decide(status, hasCredential, err == nil && !credential.equal(session.credential))
		if decided.stop == 0 {
			decided.why = "disconnected: " + decided.why
		}
	} else {
		decided = decision{why: "disconnected: " + end.Error()}
	}
	if decided.retryAfter == 0 && session != nil {
		decided.retryAfter = session.reconnectAfter
	}
	return decided, nil
}

func (c *consumer) backOff(ctx context.Context, decision decision) error {
	c.failures++
	wait := backoff(c.failures, decision.retryAfter)
	printStatus("%s; reconnecting in %.1f s", decision.why, wait.Seconds())
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return &stopped{code: exitDone}
	}
}

func (c *consumer) request() *gateway.SubscribeRequest {
	request := &gateway.SubscribeRequest{
		Account:           c.config.account,
		Consumer:          c.config.consumer,
		Filter:            &gateway.TagFilter{AnyOf: c.config.anyOf},
		MaxBatchBytes:     batchBytesMax,
		MaxBatchEvents:    batchEventsMax,
		HeartbeatInterval: durationpb.New(c.config.heartbeat),
	}
	switch {
	case c.cursor.token != "":
		request.Start = &gateway.SubscribeRequest_ResumeToken{ResumeToken: c.cursor.token}
	case c.config.start == "earliest":
		request.Start = &gateway.SubscribeRequest_Earliest{Earliest: &gateway.Earliest{}}
	default:
		request.Start = &gateway.SubscribeRequest_Latest{Latest: &gateway.Latest{}}
	}
	switch c.config.resumePolicy {
	case "earliest":
		request.ResumePolicy = gateway.ResumePolicy_RESUME_POLICY_EARLIEST
	case "latest":
		request.ResumePolicy = gateway.ResumePolicy_RESUME_POLICY_LATEST
	default:
		request.ResumePolicy = gateway.ResumePolicy_RESUME_POLICY_FAIL
	}
	return request
}

// channel makes a new one: nothing is shared with the one before, its backoff least of all.
func (c *consumer) channel(credential credential) (*grpc.ClientConn, error) {
	security, err := c.security(credential)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("dns:///"+c.config.addr,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(frameBytesMax)),
	)
}

// security is TLS with the authorities and the client certificate that the files contain now.
func (c *consumer) security(credential credential) (credentials.TransportCredentials, error) {
	if !c.config.tls {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{}
	if c.config.caFile != "" {
		pem, err := readFile(c.config.caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot read %s: it holds no certificate", c.config.caFile)
		}
	}
	if credential.certificate != nil {
		pair, err := tls.X509KeyPair(credential.certificate, credential.key)
		if err != nil {
			return nil, fmt.Errorf("cannot read a credential from %s and %s: %w", c.config.certFile, c.config.keyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// next waits for the next frame. The watchdog runs only here: handling is not silence.
func (s *session) next() (*gateway.SubscribeResponse, error) {
	watchdog := s.watch()
	defer watchdog.Stop()
	frame, err := s.stream.Recv()
	if err != nil {
		return nil, s.cause(err)
	}
	return frame, nil
}

func (s *session) watch() *time.Timer {
	return time.AfterFunc(s.silenceMax, func() { s.cancel(errSilent{s.silenceMax}) })
}

// cause is why the call was cancelled, where the watchdog did it; else what the call ended with.
func (s *session) cause(err error) error {
	var silent errSilent
	if errors.As(context.Cause(s.ctx), &silent) {
		return silent
	}
	return err
}

func (s *session) learn(frame *gateway.SubscribeResponse) {
	switch frame := frame.Frame.(type) {
	case *gateway.SubscribeResponse_SessionStart:
		if granted := frame.SessionStart.HeartbeatInterval.AsDuration(); granted > 0 {
			s.silenceMax = heartbeatsMissedMax * granted
		}
	case *gateway.SubscribeResponse_Draining:
		s.reconnectAfter = max(0, frame.Draining.ReconnectAfter.AsDuration())
	}
}
