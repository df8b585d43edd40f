package powerstream

import (
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// Describe returns a frame as lines for people: the table "Output" of PROTOCOL.md. Nothing for events and heartbeats, and for
// frames of a newer gateway. A line contains no control character, whatever the gateway sends.
func Describe(frame Frame) []string {
	var line string
	switch frame := frame.(type) {
	case *Started:
		line = fmt.Sprintf("session %s with gateway %s on account %s: %s", frame.SessionId, frame.ServerVersion, frame.Account,
			name("START_OUTCOME_", frame.Outcome))
	case *Missing:
		line = "missing: " + intervalWords(frame.TimeInterval)
	case *Warning:
		line = fmt.Sprintf("warning (%s): %s", name("WARNING_CODE_", frame.Code), frame.Message)
	case *Gap:
		line = gapWords(frame.Gap)
	case *CaughtUp:
		line = "caught up: live from here"
	case *FellBehind:
		line = fmt.Sprintf("fell behind by %d records: late, nothing is lost", frame.LagRecords)
	case *Skipped:
		line = fmt.Sprintf("skipped %d (%s) %s: they cannot be delivered", frame.Count, name("SKIP_REASON_", frame.Reason),
			intervalWords(frame.Interval))
	case *RulesChanged:
		line = noticeWords(frame.StreamNotice)
	case *Notice:
		line = noticeWords(frame.StreamNotice)
	case *Draining:
		line = fmt.Sprintf("draining (%s): the gateway ends this session soon", name("DRAIN_REASON_", frame.Reason))
	default:
		return nil
	}
	return []string{Printable(line)}
}

// Printable escapes characters that control a terminal or the direction of text.
func Printable(text string) string {
	isUnsafe := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
	if !strings.ContainsFunc(text, isUnsafe) {
		return text
	}
	var out strings.Builder
	for _, r := range text {
		if isUnsafe(r) {
			fmt.Fprintf(&out, "\\u{%x}", r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

func noticeWords(notice *gatewayv1.StreamNotice) string {
	kind := strings.TrimPrefix(name("STREAM_NOTICE_KIND_", notice.Kind), "upstream ")
	return fmt.Sprintf("upstream %s: %s", kind, notice.Message)
}

func gapWords(gap *gatewayv1.Gap) string {
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

func intervalWords(interval *gatewayv1.TimeInterval) string {
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
