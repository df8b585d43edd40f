package powerstream

import "errors"

// Kinds of a [StoppedError]; compare with errors.Is.
var (
	// ErrInvalid: the options or the request are invalid: address, account, filter or start.
	ErrInvalid = errors.New("the request is invalid")
	// ErrRefused: the gateway rejects the credential, or its principal may not read this.
	ErrRefused = errors.New("the gateway refuses access")
	// ErrPosition: the position cannot be served: too old, malformed, or of another account.
	ErrPosition = errors.New("the position cannot be served")
	// ErrUnsound: the delivery contract was violated [Config.UnsoundMax] times: an operator has to investigate.
	ErrUnsound = errors.New("the delivery contract is violated")
)

// StoppedError ends a subscription, because the same request would fail again.
type StoppedError struct {
	// Kind is one of [ErrInvalid], [ErrRefused], [ErrPosition], [ErrUnsound].
	Kind error
	// Reason of the gateway, such as POSITION_TOO_OLD. Empty if it did not come from the gateway.
	Reason string
	// Message for people.
	Message string
	// Metadata that belongs to the reason, such as `oldest_time`.
	Metadata map[string]string
}

func (e *StoppedError) Error() string {
	if e.Reason == "" {
		return e.Message
	}
	return e.Reason + ": " + e.Message
}

// Unwrap returns the kind.
func (e *StoppedError) Unwrap() error { return e.Kind }

// permanentError is what Permanent returns.
type permanentError struct{ cause error }

func (e *permanentError) Error() string { return e.cause.Error() }
func (e *permanentError) Unwrap() error { return e.cause }

// Permanent marks an error of a handler that no repetition resolves: [Client.Run] ends with it.
func Permanent(cause error) error { return &permanentError{cause} }

// poisonError is what Poison returns.
type poisonError struct {
	event *Event
	cause error
}

func (e *poisonError) Error() string { return e.cause.Error() }
func (e *poisonError) Unwrap() error { return e.cause }

// Poison marks an event that the handler can never handle. [Client.Run] passes it to [Handler.DeadLetter], and then delivers
// the batch again without it. Without that hook it is the same as [Permanent].
func Poison(event *Event, cause error) error { return &poisonError{event, cause} }

// UnfinishedError reports that [Client.Run] was stopped while its handler had a frame in hand. The token of the frame was not
// confirmed: it is delivered again.
type UnfinishedError struct {
	// Frame in hand.
	Frame Frame
	// Cause is the error of the handler; nil if it did not return in time.
	Cause error
}

func (e *UnfinishedError) Error() string {
	if e.Cause == nil {
		return "stopped within a frame: the handler has not returned; the frame is delivered again"
	}
	return "stopped within a frame: " + e.Cause.Error() + "; the frame is delivered again"
}

// Unwrap returns the error of the handler.
func (e *UnfinishedError) Unwrap() error { return e.Cause }
