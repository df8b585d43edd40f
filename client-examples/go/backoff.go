package powerstream

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff returns the delay after so many successive failures, the last one included. requested: by the gateway, 0 = not.
func backoff(failures int, requested time.Duration) time.Duration {
	if requested > 0 {
		// The gateway has jittered it for this client.
		return min(max(requested, backoffMin), retryAfterMax)
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

// pause returns false if ctx is done before the delay has passed.
func pause(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
