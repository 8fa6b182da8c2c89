package proxy

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page describes every metric of the sidecar's own.
func TestPageDescribesMetrics(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../../docs/sidecar.md")
	require.NoError(t, err)
	m := newMetrics()
	m.handshakes.WithLabelValues("p", "o")
	m.refusals.WithLabelValues("p", "s", "r")
	m.verifier.WithLabelValues("p", "o")
	m.attester.WithLabelValues("p", "o")
	m.reattests.WithLabelValues("p", "o")
	m.upstreams.WithLabelValues("p", "u")
	m.reloads.WithLabelValues("o")
	m.reloadsPolicy.WithLabelValues("p", "o")
	m.expiries.WithLabelValues("p")
	m.connections.WithLabelValues("p")
	m.received.WithLabelValues("p")
	m.sent.WithLabelValues("p")
	m.acceptErrors.WithLabelValues("p")
	m.certificate.WithLabelValues("p")
	families, err := m.registry.Gather()
	require.NoError(t, err)
	n := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "expat_proxy_") {
			continue
		}
		n++
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		row := "| `" + strings.TrimPrefix(f.GetName(), "expat_proxy_") + "` | " + strings.Join(labels, ", ") + " | " + f.GetHelp() + " |"
		require.Contains(t, string(b), row)
	}
	require.Equal(t, 16, n)
}
