package remote

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// backoff is how long to wait before attempt number n+1: at random below a bound
// that doubles (full jitter), so that relying parties that failed together do not
// return together; from when the service asked for, if it did.
func (v *Verifier) backoff(n int, after time.Duration) time.Duration {
	bound := v.o.MaxBackoff
	if n < 20 {
		bound = min(bound, v.o.Backoff<<n)
	}
	return after + rand.N(bound) + 1
}

// wait waits d, or says no at once if ctx ends before that.
func (v *Verifier) wait(ctx context.Context, d time.Duration) bool {
	if end, bounded := ctx.Deadline(); (bounded && time.Until(end) <= d) || d > maxWait {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryAfter reads Retry-After (RFC 9110, Section 10.2.3); 0 if there is none that
// can be read.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
