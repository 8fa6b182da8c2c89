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

const golden = "testdata/refused.txt"

func line(o attacktest.Outcome) string {
	return fmt.Sprintf("%s | %s | %s | %s | %s | %s\n", o.Name, o.Victim, o.Outcome, o.Step, o.Alert, o.Note)
}

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
		got.WriteString(line(o))
		require.NotZero(t, o.Took)
		require.Equal(t, float64(o.Took.Microseconds())/1000, o.Milliseconds)
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

// Victims that demand to be able to ask anew refuse everything in the same way, to
// somebody who lets himself be asked. The demand is not what refuses him.
func TestRefusesAllWhereRenewalIsDemanded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(deadline)
	client.ReattestEvery, server.ReattestEvery = 2*time.Second, 2*time.Second
	outcomes, err := attacktest.Run(t.Context(), w.target(serve(t, server), attacktest.ClientOf(client)), quick)
	require.NoError(t, err)
	golden, err := os.ReadFile(golden)
	require.NoError(t, err)
	for _, o := range outcomes {
		if o.Name == "state drift, its verdict" {
			require.Equal(t, "the victim's verdicts last longer than the run", o.Note)
			continue
		}
		require.Contains(t, string(golden), line(o))
	}
}

// A client that demands what the endpoint does not offer is not to be deceived about
// it by frames that are passed on.
func TestPassingWhatIsNotOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(deadline)
	client.ReattestEvery = time.Hour
	o := quick
	o.Only = []string{"terminating proxy", "relayed Evidence"}
	outcomes, err := attacktest.Run(t.Context(), w.target(serve(t, server), attacktest.ClientOf(client)), o)
	require.NoError(t, err)
	require.Len(t, outcomes, 2)
	require.Equal(t, attacktest.NotApplicable, outcomes[0].Outcome)
	require.Equal(t, "the client demands to be able to ask anew, which the endpoint does not offer", outcomes[0].Note)
	require.Equal(t, attacktest.Refused, outcomes[1].Outcome)
	require.Equal(t, string(expat.StageAppraise), outcomes[1].Step)
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
