package proxy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A token whose iat or exp would seem wrong, as the clock was set since, is made anew.
func TestTokenAfterClockStep(t *testing.T) {
	t.Parallel()
	made := time.Now()
	tok := token{made: made, reuse: time.Minute}
	for _, c := range []struct {
		passed, step time.Duration
		fresh        bool
	}{
		{0, 0, true}, {59 * time.Second, 0, true}, {time.Minute, 0, false},
		{time.Second, 58 * time.Second, true}, {time.Second, 59 * time.Second, false}, {time.Second, time.Hour, false},
		{time.Second, -time.Second, true}, {time.Second, -2 * time.Second, false}, {time.Minute, -time.Second, false},
	} {
		// A time has both clocks, and only the one on the wall can be set: so look at
		// each by itself.
		monotonic, wall := made.Add(c.passed), made.Add(c.passed+c.step).Round(0)
		require.Equal(t, c.fresh, tok.fresh(monotonic) && tok.fresh(wall), "%v, set by %v", c.passed, c.step)
	}
}
