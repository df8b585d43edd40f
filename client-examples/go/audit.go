package powerstream

import (
	"fmt"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// unsoundError: between the gateway's log and this process events were lost, repeated or reordered.
type unsoundError struct{ what string }

func (e *unsoundError) Error() string { return "UNSOUND: " + e.what }

// audit verifies what the gateway promises of a session, before anything of a frame is handled.
type audit struct {
	started      bool
	events       uint64
	lastSequence uint64
}

func (a *audit) check(message *gatewayv1.SubscribeResponse) error {
	if isStart := message.GetSessionStart() != nil; isStart == a.started {
		return &unsoundError{"a session begins with exactly one SessionStart"}
	}
	a.started = true
	switch frame := message.Frame.(type) {
	case *gatewayv1.SubscribeResponse_EventBatch:
		for _, event := range frame.EventBatch.Events {
			// 0: an event of a private gap, which is not in the log.
			if event.Sequence == 0 {
				continue
			}
			if event.Sequence <= a.lastSequence {
				return &unsoundError{fmt.Sprintf("event %d came after event %d", event.Sequence, a.lastSequence)}
			}
			a.lastSequence = event.Sequence
		}
		a.events += uint64(len(frame.EventBatch.Events))
		return a.count(frame.EventBatch.DeliveredTotal)
	case *gatewayv1.SubscribeResponse_Heartbeat:
		return a.count(frame.Heartbeat.DeliveredTotal)
	}
	return nil
}

func (a *audit) count(reported uint64) error {
	if reported != a.events {
		return &unsoundError{
			fmt.Sprintf("the gateway has delivered %d events in this session, %d have arrived", reported, a.events)}
	}
	return nil
}
