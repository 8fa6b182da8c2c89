package celrules_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier/celrules"
)

// crowd is a device that measures far more than the estimate assumes.
func crowd(n int) *evidence.Claims {
	c := sample()
	c.Measurements = nil
	for i := range n {
		c.Measurements = append(c.Measurements, evidence.Measurement{Name: fmt.Sprint("m", i), Digest: []byte{byte(i >> 8), byte(i)}})
	}
	return c
}

// TestCostLimit: what turns out to be expensive is stopped, and fails.
func TestCostLimit(t *testing.T) {
	t.Parallel()
	r := one(t, `measurements.all(a, measurements.exists(b, a.name == b.name))`)
	require.NoError(t, r.Check(context.Background(), crowd(64)))
	err := r.Check(context.Background(), crowd(2000))
	require.ErrorIs(t, err, celrules.ErrEvaluation)
	require.ErrorContains(t, err, "cost limit exceeded")

	// Long strings cost what they are long.
	c := sample()
	c.Platform = strings.Repeat("a", 1<<20)
	err = one(t, `[1,2,3,4,5,6,7,8,9].all(i, !platform.contains("b"))`).Check(context.Background(), c)
	require.ErrorIs(t, err, celrules.ErrEvaluation)
}

// TestContext: an evaluation ends with its context, as no verdict.
func TestContext(t *testing.T) {
	t.Parallel()
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(context.Background())
	r := one(t, `measurements.all(a, a.name != "x")`)
	require.NoError(t, r.Check(ctx, crowd(1000)))
	cancel(late)
	require.ErrorIs(t, r.Check(ctx, crowd(1000)), late)
	require.ErrorIs(t, one(t, `true`).Check(ctx, sample()), late)
}

// TestConcurrent: one rule judges many claims at the same time.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := one(t, `digests["kernel"].all(d, d == "`+kernelHex+`") && measurements.exists(m, m.name == "app")`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				c := sample()
				if i%2 == 1 {
					c.Measurements[0].Digest = []byte{1}
				}
				err := r.Check(context.Background(), c)
				if (i%2 == 1) != errors.Is(err, celrules.ErrFalse) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestClaimsUnchanged: a rule does not change what it judges.
func TestClaimsUnchanged(t *testing.T) {
	t.Parallel()
	c := sample()
	require.NoError(t, one(t, `measurements.map(m, m.name + "x").size() == 3 && digests["app"].size() == 2`).Check(context.Background(), c))
	require.Equal(t, sample(), c)
}

// FuzzCompile: no text makes Compile or a rule panic, and a rule that was compiled
// is decided by what it says of the same claims each time.
func FuzzCompile(f *testing.F) {
	seeds := []string{
		`true`, `platform == "simulated"`, `digests["kernel"].all(d, d in ["00"])`, `at_least(versions["firmware"][0], "1.10")`,
		`measurements.exists(m, m.name.startsWith("debug-"))`, `signer_not_after > timestamp("2026-01-01T00:00:00Z")`,
		`"\u00e9".matches("[")`, `[1, 2].map(x, x * 2)`, `{"a": 1}["b"] == 1`, "\x00", `celrules.software{name: "x"}.name == "x"`,
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := celrules.Compile(celrules.Expression{Name: "r", CEL: text})
		if err != nil {
			var e *celrules.Error
			require.ErrorAs(t, err, &e)
			require.Nil(t, rules)
			return
		}
		first := rules[0].Check(context.Background(), sample())
		again := rules[0].Check(context.Background(), sample())
		require.Equal(t, first == nil, again == nil)
		if first != nil {
			require.True(t, errors.Is(first, celrules.ErrFalse) || errors.Is(first, celrules.ErrEvaluation), "%v", first)
		}
	})
}

func BenchmarkRule(b *testing.B) {
	for name, text := range map[string]string{
		"compare": `platform == "simulated" && debug == "disabled-since-boot"`,
		"digest":  `digests["kernel"].all(d, d in ["00", "` + kernelHex + `"])`,
		"version": `versions["firmware"].all(v, at_least(v, "1.10"))`,
		"loop":    `measurements.exists(m, m.name == "kernel" && m.digest == "` + kernelHex + `")`,
	} {
		b.Run(name, func(b *testing.B) {
			r, c := one(b, text), sample()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Check(ctx, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
