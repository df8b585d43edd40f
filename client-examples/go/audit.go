package main

import (
	"fmt"

	gateway "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// unsound: something between the gateway's log and here lost, repeated or reordered events.
type unsound struct{ what string }

func (u *unsound) Error() string { return "UNSOUND: " + u.what }

// audit holds one session to what the gateway promises of it, before anything of a frame is handled.
type audit struct {
	started      bool
	events       uint64
	lastSequence uint64
}

func (a *audit) check(frame *gateway.SubscribeResponse) error {
	if isStart := frame.GetSessionStart() != nil; isStart == a.started {
		return &unsound{"a session begins with exactly one SessionStart"}
	}
	a.started = true
	switch frame := frame.Frame.(type) {
	case *gateway.SubscribeResponse_EventBatch:
		for _, event := range frame.EventBatch.Events {
			// 0: read back for this consumer alone, not in the log.
			if event.Sequence == 0 {
				continue
			}
			if event.Sequence <= a.lastSequence {
				return &unsound{fmt.Sprintf("event %d came after event %d", event.Sequence, a.lastSequence)}
			}
			a.lastSequence = event.Sequence
		}
		a.events += uint64(len(frame.EventBatch.Events))
		return a.count(frame.EventBatch.DeliveredTotal)
	case *gateway.SubscribeResponse_Heartbeat:
		return a.count(frame.Heartbeat.DeliveredTotal)
	}
	return nil
}

func (a *audit) count(reported uint64) error {
	if reported != a.events {
		return &unsound{fmt.Sprintf("the gateway has delivered %d events in this session, %d have arrived", reported, a.events)}
	}
	return nil
}
