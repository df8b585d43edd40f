package main

import "time"

// The table "Constants" of PROTOCOL.md.
const (
	backoffMin          = 250 * time.Millisecond
	backoffMax          = 30 * time.Second
	jitter              = 0.5
	retryAfterMax       = 10 * time.Minute
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
)

// The exit codes of PROTOCOL.md.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitUnsound  = 3
	exitRefused  = 4
	exitPosition = 5
)
