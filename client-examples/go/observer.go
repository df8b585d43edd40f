package powerstream

import (
	"context"
	"log/slog"
	"time"

	gatewayv1 "github.com/powerstream-gateway/powerstream-gateway/client-examples/go/gen/powerstream/gateway/v1"
)

// Observer contains functions that the client calls between frames, for metrics. Each may be nil. They must not block.
type Observer struct {
	// Connected is called when a session begins.
	Connected func(*Started)
	// Disconnected is called when a session ends or cannot be opened, before the client waits and reconnects.
	Disconnected func(Disconnect)
	// Progress is called for each heartbeat: lag and low watermark.
	Progress func(Progress)
	// Gap is called for each gap that was detected or has changed.
	Gap func(*Gap)
}

// Disconnect is the end of a session, or of an attempt to open one.
type Disconnect struct {
	// Cause for people.
	Cause string
	// IsUnsound is true if a frame violated the delivery contract.
	IsUnsound bool
	// Failures since the last sound frame, this one included.
	Failures int
	// RetryIn is the delay before the next attempt.
	RetryIn time.Duration
}

// Progress is the position of a session.
type Progress struct {
	// LagRecords is the number of records between this session and the tip of the log.
	LagRecords uint64
	// Lag is the time between this session and the tip of the log.
	Lag time.Duration
	// LowWatermark: every matching event created before this time was delivered or lies in an announced gap. Zero: unknown.
	LowWatermark time.Time
	// IsUpstreamConnected is true if the gateway receives from X.
	IsUpstreamConnected bool
}

func (c *Client) observe(frame Frame) {
	log, observer := c.config.Logger, &c.config.Observer
	switch frame := frame.(type) {
	case *Started:
		log.Info("session started", "session", frame.SessionId, "gateway", frame.ServerVersion, "account", frame.Account,
			"outcome", name("START_OUTCOME_", frame.Outcome))
		call(observer.Connected, frame)
	case *Heartbeat:
		call(observer.Progress, progressOf(frame.Heartbeat))
	case *Gap:
		level := slog.LevelInfo
		if frame.IsLoss() {
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "gap changed", "gap", frame.GapId, "state", frame.StateText(), "cause", frame.CauseText(),
			"interval", intervalWords(frame.Interval), "is_loss", frame.IsLoss())
		call(observer.Gap, frame)
	case *Missing:
		log.Warn("interval is missing", "interval", intervalWords(frame.TimeInterval))
	case *Skipped:
		log.Warn("records skipped", "count", frame.Count, "reason", name("SKIP_REASON_", frame.Reason))
	case *Warning:
		log.Warn("request warning", "code", name("WARNING_CODE_", frame.Code), "message", frame.Message)
	case *FellBehind:
		log.Info("fell behind", "lag_records", frame.LagRecords)
	case *CaughtUp:
		log.Info("caught up")
	case *RulesChanged:
		log.Info("rules changed", "message", frame.Message)
	case *Notice:
		log.Info("upstream changed", "kind", name("STREAM_NOTICE_KIND_", frame.Kind), "message", frame.Message)
	case *Draining:
		log.Info("session is draining", "reason", name("DRAIN_REASON_", frame.Reason))
	}
}

func (c *Client) observeDisconnect(disconnect Disconnect) {
	c.config.Logger.Warn("disconnected, will reconnect", "cause", disconnect.Cause, "failures", disconnect.Failures,
		"retry_in", disconnect.RetryIn)
	call(c.config.Observer.Disconnected, disconnect)
}

func call[T any](function func(T), argument T) {
	if function != nil {
		function(argument)
	}
}

func progressOf(heartbeat *gatewayv1.Heartbeat) Progress {
	progress := Progress{
		LagRecords:          heartbeat.LagRecords,
		Lag:                 heartbeat.Lag.AsDuration(),
		IsUpstreamConnected: heartbeat.UpstreamState == gatewayv1.UpstreamState_UPSTREAM_STATE_CONNECTED,
	}
	if at := goTime(heartbeat.LowWatermark); at != nil {
		progress.LowWatermark = *at
	}
	return progress
}
