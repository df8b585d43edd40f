package powerstream

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/status"
)

// errLeft: the caller does not want another frame.
var errLeft = errors.New("the caller has left")

// subscription is the chain of sessions of one caller: CONNECT, STREAMING, DECIDE and BACK_OFF of PROTOCOL.md.
type subscription struct {
	client *Client
	// Token of the last frame that the caller has finished.
	token string
	// Disconnects since the last sound frame.
	failures int
	unsound  int
}

// run delivers frames until the caller leaves or ctx is done, which is errLeft, or until the same request would fail again,
// which is a *StoppedError.
func (s *subscription) run(ctx context.Context, deliver func(Frame) bool) error {
	for {
		decision, err := s.connectAndStream(ctx, deliver)
		if err != nil {
			return err
		}
		if decision.stop != nil {
			return decision.stop
		}
		s.failures++
		delay := backoff(s.failures, decision.retryAfter)
		s.client.observeDisconnect(Disconnect{
			Cause: decision.why, IsUnsound: decision.isUnsound, Failures: s.failures, RetryIn: delay,
		})
		if !pause(ctx, delay) {
			return errLeft
		}
	}
}

func (s *subscription) connectAndStream(ctx context.Context, deliver func(Frame) bool) (decision, error) {
	session, err := s.client.connect(ctx, s.token)
	if session != nil {
		defer session.close()
	}
	if err == nil {
		err = s.stream(ctx, session, deliver)
	}
	if ctx.Err() != nil || errors.Is(err, errLeft) {
		return decision{}, errLeft
	}
	decision := s.decide(session, err)
	if decision.retryAfter == 0 && session != nil {
		decision.retryAfter = session.reconnectAfter
	}
	return decision, nil
}

func (s *subscription) stream(ctx context.Context, session *session, deliver func(Frame) bool) error {
	for {
		message, err := session.next()
		if err != nil {
			return err
		}
		s.failures = 0
		for _, frame := range framesOf(message) {
			if ctx.Err() != nil {
				return errLeft
			}
			s.client.observe(frame)
			if !deliver(frame) {
				return errLeft
			}
			if token := frame.Token(); token != "" {
				s.token = token
			}
		}
	}
}

// decide classifies the end of a session, or of an attempt to open one.
func (s *subscription) decide(session *session, end error) decision {
	var unsound *unsoundError
	var silent *silenceError
	if errors.As(end, &unsound) {
		decided := decision{why: unsound.what, isUnsound: true}
		if s.unsound++; s.unsound >= s.client.config.UnsoundMax {
			decided.stop = &StoppedError{Kind: ErrUnsound, Reason: "UNSOUND", Message: unsound.what}
		}
		return decided
	}
	if errors.Is(end, io.EOF) {
		return decision{why: "the gateway ended the stream"}
	}
	if errors.As(end, &silent) {
		return decision{why: silent.Error()}
	}
	if end, ok := status.FromError(end); ok && session != nil {
		return decide(end, s.client.credentialState(session.credential))
	}
	return decision{why: end.Error()}
}

// credentialState compares what the files of the credential contain now with what was sent.
func (c *Client) credentialState(sent credential) credentialState {
	if c.config.BearerFile == "" && c.config.CertFile == "" {
		return credentialNone
	}
	// What cannot be read is reported by the next session.
	if current, err := readCredential(&c.config); err == nil && !current.equal(sent) {
		return credentialChanged
	}
	return credentialSame
}
