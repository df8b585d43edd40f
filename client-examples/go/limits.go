package powerstream

import "time"

// The table "Constants" of PROTOCOL.md.
const (
	backoffMin          = 250 * time.Millisecond
	backoffMax          = 30 * time.Second
	jitter              = 0.5
	retryAfterMax       = 10 * time.Minute
	heartbeatDefault    = 10 * time.Second
	heartbeatsMissedMax = 3
	connectWaitMax      = 10 * time.Second
	keepaliveInterval   = 20 * time.Second
	keepaliveTimeout    = 10 * time.Second
	frameBytesMax       = 16 << 20
	batchBytesMax       = 1 << 20
	batchEventsMax      = 10_000
	unsoundMax          = 3
	stopWaitMax         = 5 * time.Second
	cursorBytesMax      = 1_024
	// handlerGrace is how long a handler has to react to the end of its context.
	handlerGrace = 100 * time.Millisecond
)
