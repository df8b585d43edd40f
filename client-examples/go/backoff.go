package main

import (
	"math/rand/v2"
	"time"
)

// backoff is how long to wait before the next CONNECT. failures: how often in a row, this one included; asked: what the
// gateway asks for, 0 = nothing.
func backoff(failures int, asked time.Duration) time.Duration {
	if asked > 0 {
		// The gateway has drawn it for this client: no jitter.
		return min(max(asked, backoffMin), retryAfterMax)
	}
	base := backoffMin
	for range failures - 1 {
		if base *= 2; base >= backoffMax {
			base = backoffMax
			break
		}
	}
	return time.Duration(float64(base) * (1 + jitter*rand.Float64()))
}
