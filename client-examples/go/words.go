package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	gateway "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// words describes a frame for people: the table "Output" of PROTOCOL.md. Nothing for events and heartbeats, and
// for frames of a newer gateway.
func words(frame *gateway.SubscribeResponse) []string {
	switch frame := frame.Frame.(type) {
	case *gateway.SubscribeResponse_SessionStart:
		return sessionWords(frame.SessionStart)
	case *gateway.SubscribeResponse_CaughtUp:
		return []string{"caught up: live from here"}
	case *gateway.SubscribeResponse_FellBehind:
		return []string{fmt.Sprintf("fell behind by %d records: late, nothing is lost", frame.FellBehind.LagRecords)}
	case *gateway.SubscribeResponse_GapNotice:
		return []string{gapWords(frame.GapNotice.GetGap())}
	case *gateway.SubscribeResponse_Skipped:
		skipped := frame.Skipped
		return []string{fmt.Sprintf("skipped %d (%s) %s: they cannot be delivered", skipped.Count,
			name("SKIP_REASON_", skipped.Reason), intervalWords(skipped.GetInterval()))}
	case *gateway.SubscribeResponse_StreamNotice:
		kind := strings.TrimPrefix(name("STREAM_NOTICE_KIND_", frame.StreamNotice.Kind), "upstream ")
		return []string{fmt.Sprintf("upstream %s: %s", kind, frame.StreamNotice.Message)}
	case *gateway.SubscribeResponse_Draining:
		reason := name("DRAIN_REASON_", frame.Draining.Reason)
		return []string{fmt.Sprintf("draining (%s): the gateway ends this session soon", reason)}
	}
	return nil
}

func sessionWords(start *gateway.SessionStart) []string {
	lines := []string{fmt.Sprintf("session %s with gateway %s on account %s: %s", start.SessionId, start.ServerVersion,
		start.Account, name("START_OUTCOME_", start.Outcome))}
	for _, missing := range start.Missing {
		lines = append(lines, "missing: "+intervalWords(missing))
	}
	for _, warning := range start.Warnings {
		lines = append(lines, fmt.Sprintf("warning (%s): %s", name("WARNING_CODE_", warning.Code), warning.Message))
	}
	for _, gap := range start.OpenGaps {
		lines = append(lines, gapWords(gap))
	}
	return lines
}

func gapWords(gap *gateway.Gap) string {
	// Not by the state: a newer gateway may have further states.
	result := "posts may be missing"
	if gap.GetComplete() {
		result = "every missing post was delivered"
	} else if gap.GetClosed() {
		result = "POSTS ARE LOST"
	}
	whose := ""
	if gap.GetPrivate() {
		whose = " of this consumer"
	}
	return fmt.Sprintf("gap %s%s %s: %s (%s): %s", gap.GetGapId(), whose, name("GAP_STATE_", gap.GetState()),
		intervalWords(gap.GetInterval()), name("GAP_CAUSE_", gap.GetCause()), result)
}

func intervalWords(interval *gateway.TimeInterval) string {
	side := func(time *timestamppb.Timestamp, absent string) string {
		if time == nil {
			return absent
		}
		return time.AsTime().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return fmt.Sprintf("from %s to %s", side(interval.GetStartTime(), "an unknown time"), side(interval.GetEndTime(), "now"))
}

// name is the name of an enum's value without its prefix, as words; the number for one of a newer gateway.
func name(prefix string, value fmt.Stringer) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(value.String(), prefix), "_", " "))
}
