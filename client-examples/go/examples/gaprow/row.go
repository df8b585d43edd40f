// Package gaprow makes rows of the table gaps, the same for each database.
package gaprow

import (
	"fmt"
	"time"

	powerstream "github.com/powerstream-gateway/powerstream-gateway/client-examples/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Of returns gap_id, state, start_time and end_time of a frame that reports a gap, or posts that are not delivered. Nil for others.
func Of(frame powerstream.Frame) []any {
	switch frame := frame.(type) {
	case *powerstream.Gap:
		interval := frame.GetInterval()
		return []any{frame.GapId, frame.StateText(), text(interval.GetStartTime()), text(interval.GetEndTime())}
	case *powerstream.Missing:
		start, end := text(frame.GetStartTime()), text(frame.GetEndTime())
		id := "missing before now"
		if end != nil {
			id = "missing before " + *end
		}
		return []any{id, "missing", start, end}
	case *powerstream.Skipped:
		interval := frame.GetInterval()
		id, state := fmt.Sprint("skipped at ", frame.Sequence), fmt.Sprint(frame.Count, " skipped")
		return []any{id, state, text(interval.GetStartTime()), text(interval.GetEndTime())}
	default:
		return nil
	}
}

// text is nil for a time that is absent.
func text(at *timestamppb.Timestamp) *string {
	if at == nil || !at.IsValid() {
		return nil
	}
	formatted := at.AsTime().Format(time.RFC3339Nano)
	return &formatted
}
