package attacktest_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

var update = flag.Bool("update", false, "rewrite testdata/refused.txt and the tables of docs/attacks.md")

// quick is for endpoints with a deadline of 5 s.
var quick = attacktest.Options{Patience: 14 * time.Second, Prompt: 5 * time.Second, Drip: 100 * time.Millisecond, Parallel: 8}

const deadline = 5 * time.Second

// Package expat refuses everything, at the step and with the code that
// testdata/refused.txt has.
func TestRefusesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(deadline)
	client.Verifier, server.Verifier = w.shortVerifier(t), w.shortVerifier(t)
	client.Reattest, server.Reattest = true, true
	outcomes, err := attacktest.Run(t.Context(), w.target(serve(t, server), attacktest.ClientOf(client)), quick)
	require.NoError(t, err)
	var got bytes.Buffer
	for _, o := range outcomes {
		fmt.Fprintf(&got, "%s | %s | %s | %s | %s | %s\n", o.Name, o.Victim, o.Outcome, o.Step, o.Alert, o.Note)
		require.NotZero(t, o.Took)
		require.Equal(t, float64(o.Took.Microseconds())/1000, o.Milliseconds)
	}
	const golden = "testdata/refused.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

// shortVerifier gives verdicts that run out within the test.
func (w *world) shortVerifier(t testing.TB) *verifier.Appraiser {
	v, err := verifier.New(verifier.Policy{
		Name: "short", Roots: w.vendor.Roots(), Lifetime: 5 * time.Second,
		Measurements: map[string][][]byte{"firmware": {firmware[:]}},
		Instances:    [][]byte{w.server.device.Instance(), w.client.device.Instance()},
	}, simulated.Extractor{})
	require.NoError(t, err)
	return v
}

// Victims with one part are attacked in that part only.
func TestOneDirection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(client, server *expat.Config)
		parts  map[attacktest.Victim]bool
	}{
		"the server attests": {
			func(client, server *expat.Config) { client.Attester, server.Verifier = nil, nil },
			map[attacktest.Victim]bool{attacktest.EndpointAttester: true, attacktest.ClientRelying: true},
		},
		"the client attests": {
			func(client, server *expat.Config) { client.Verifier, server.Attester = nil, nil },
			map[attacktest.Victim]bool{attacktest.EndpointRelying: true, attacktest.ClientAttester: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			client, server := w.configs(20 * time.Second)
			c.change(client, server)
			o := quick
			o.Only = names(false)
			outcomes, err := attacktest.Run(t.Context(), w.target(serve(t, server), attacktest.ClientOf(client)), o)
			require.NoError(t, err)
			tried := map[attacktest.Victim]bool{}
			for _, o := range outcomes {
				require.Contains(t, []attacktest.Result{attacktest.Refused, attacktest.NotApplicable}, o.Outcome, "%+v", o)
				if o.Outcome == attacktest.Refused {
					tried[o.Victim] = true
				} else {
					require.NotEmpty(t, o.Note)
				}
			}
			c.parts[attacktest.Endpoint], c.parts[attacktest.Client] = true, true
			require.Equal(t, c.parts, tried)
		})
	}
}
