package powerstream

import (
	"time"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Event is a post, or a further match of one.
type Event = gatewayv1.Event

// Frame is one of [*Batch], [*Gap], [*Skipped], [*Missing], [*CaughtUp], [*FellBehind], [*RulesChanged], [*Heartbeat],
// [*Started], [*Warning], [*Notice], [*Draining], [*Unknown].
type Frame interface {
	// Token covers this frame and everything before it. Store it together with the effect of the frame. Empty: the position
	// has not changed, or a following frame of the same message has the token.
	Token() string
	isFrame()
}

type base struct{ token string }

// Token covers this frame and everything before it; see [Frame].
func (b base) Token() string { return b.token }
func (base) isFrame()        {}

// Batch contains events in the order of the log. If PossibleDuplicate is set, some were perhaps delivered before: handle them
// idempotently, by PostId.
type Batch struct {
	*gatewayv1.EventBatch
	base
}

// Gap is an interval of which posts are or were missing; it is delivered at each change of its state.
type Gap struct {
	*gatewayv1.Gap
	base
}

// IsLoss reports whether posts of the interval are lost for good.
func (g *Gap) IsLoss() bool { return g.Closed && !g.Complete }

// StateText is the state in words, such as "unrecoverable".
func (g *Gap) StateText() string { return name("GAP_STATE_", g.State) }

// CauseText is the cause in words, such as "disconnected".
func (g *Gap) CauseText() string { return name("GAP_CAUSE_", g.Cause) }

// StartTime is the start of the interval, inclusive; nil if it is unknown.
func (g *Gap) StartTime() *time.Time { return goTime(g.GetInterval().GetStartTime()) }

// EndTime is the end of the interval, exclusive; nil while the gap is open.
func (g *Gap) EndTime() *time.Time { return goTime(g.GetInterval().GetEndTime()) }

// Skipped counts messages or records that cannot be delivered: they are lost.
type Skipped struct {
	*gatewayv1.Skipped
	base
}

// Missing is an interval between the requested and the actual start that is not delivered: its posts are lost for this
// consumer.
type Missing struct {
	*gatewayv1.TimeInterval
	base
}

// CaughtUp reports that the session has reached the tip of the log.
type CaughtUp struct {
	*gatewayv1.CaughtUp
	base
}

// FellBehind reports that the session reads from disk: late, nothing is lost.
type FellBehind struct {
	*gatewayv1.FellBehind
	base
}

// RulesChanged reports a change of the rules that X has.
type RulesChanged struct {
	*gatewayv1.StreamNotice
	base
}

// Heartbeat advances the token where no event matches, and reports lag and low watermark.
type Heartbeat struct {
	*gatewayv1.Heartbeat
	base
}

// Started begins a session. What is missing, the warnings and the open gaps follow as frames of their own; the last of them
// has the token.
type Started struct {
	*gatewayv1.SessionStart
	base
}

// Warning is a warning about the request.
type Warning struct {
	*gatewayv1.Warning
	base
}

// Notice is a change of the upstream connection.
type Notice struct {
	*gatewayv1.StreamNotice
	base
}

// Draining reports that the gateway ends this session soon. The client reconnects.
type Draining struct {
	*gatewayv1.Draining
	base
}

// Unknown is a frame of a newer gateway. It contains no event, and nothing else that must not be skipped. Store its token.
type Unknown struct{ base }

// framesOf returns the frames of a message. Only the last one has its token.
func framesOf(message *gatewayv1.SubscribeResponse) []Frame {
	last := base{message.ResumeToken}
	switch frame := message.Frame.(type) {
	case *gatewayv1.SubscribeResponse_SessionStart:
		return startFrames(frame.SessionStart, last)
	case *gatewayv1.SubscribeResponse_EventBatch:
		return []Frame{&Batch{frame.EventBatch, last}}
	case *gatewayv1.SubscribeResponse_Heartbeat:
		return []Frame{&Heartbeat{frame.Heartbeat, last}}
	case *gatewayv1.SubscribeResponse_CaughtUp:
		return []Frame{&CaughtUp{frame.CaughtUp, last}}
	case *gatewayv1.SubscribeResponse_FellBehind:
		return []Frame{&FellBehind{frame.FellBehind, last}}
	case *gatewayv1.SubscribeResponse_GapNotice:
		if gap := frame.GapNotice.GetGap(); gap != nil {
			return []Frame{&Gap{gap, last}}
		}
	case *gatewayv1.SubscribeResponse_Skipped:
		return []Frame{&Skipped{frame.Skipped, last}}
	case *gatewayv1.SubscribeResponse_StreamNotice:
		if frame.StreamNotice.Kind == gatewayv1.StreamNoticeKind_STREAM_NOTICE_KIND_RULES_CHANGED {
			return []Frame{&RulesChanged{frame.StreamNotice, last}}
		}
		return []Frame{&Notice{frame.StreamNotice, last}}
	case *gatewayv1.SubscribeResponse_Draining:
		return []Frame{&Draining{frame.Draining, last}}
	}
	return []Frame{&Unknown{last}}
}

func startFrames(start *gatewayv1.SessionStart, last base) []Frame {
	started := &Started{SessionStart: start}
	frames, token := []Frame{started}, &started.base
	for _, missing := range start.Missing {
		frame := &Missing{TimeInterval: missing}
		frames, token = append(frames, frame), &frame.base
	}
	for _, warning := range start.Warnings {
		frame := &Warning{Warning: warning}
		frames, token = append(frames, frame), &frame.base
	}
	for _, gap := range start.OpenGaps {
		frame := &Gap{Gap: gap}
		frames, token = append(frames, frame), &frame.base
	}
	*token = last
	return frames
}

func goTime(at *timestamppb.Timestamp) *time.Time {
	if at == nil {
		return nil
	}
	converted := at.AsTime()
	return &converted
}
