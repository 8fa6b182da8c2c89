package attacktest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attacktest"
)

// quick is for endpoints with a deadline of 2 s.
var quick = attacktest.Options{Patience: 4 * time.Second, Prompt: 1500 * time.Millisecond, Drip: 100 * time.Millisecond, Parallel: 8}

const deadline = 2 * time.Second

// Package expat refuses everything, in mutual attestation.
func TestRefusesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(deadline)
	outcomes, err := attacktest.Run(t.Context(), w.target(serve(t, server), attacktest.ClientOf(client)), quick)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, attacktest.WriteTable(&b, outcomes))
	t.Logf("\n%s", b.String())
	for _, o := range outcomes {
		require.Equal(t, attacktest.Refused, o.Outcome, "%+v", o)
	}
}
