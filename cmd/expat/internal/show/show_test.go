package show

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

func TestRows(t *testing.T) {
	t.Parallel()
	l := &Learned{
		Tier: "affirming", Certificate: "a.test", Policy: "p", Lifetime: "1h0m0s", Instance: strings.Repeat("0a", 17),
		Claims: map[string]any{
			"platform": "simulated", "hardware-model": "6d2d31", "debug": "disabled", "key": "born-inside",
			"software":     []any{map[string]any{"name": "x", "version": "1"}, map[string]any{"name": "y"}},
			"measurements": []any{map[string]any{"name": "kernel", "algorithm": "sha-256", "digest": "00112233445566778899"}},
		},
	}
	require.Equal(t, []Row{
		{"tier", "affirming"}, {"certificate", "a.test"}, {"policy", "p"}, {"instance", "0a0a0a0a0a0a0a0a..."},
		{"hardware", "simulated m-1"}, {"debug", "disabled"}, {"key", "born-inside"},
		{"software", "x 1"}, {"software", "y"}, {"kernel", "sha-256 0011223344556677..."}, {"holds for", "1h0m0s"},
	}, l.Rows())
}

// Names come from the peer: none may reach a terminal as it is.
func TestRowsAreClean(t *testing.T) {
	t.Parallel()
	evil := "\x1b[2J\nroot\u202e" + strings.Repeat("x", 100)
	l := &Learned{Certificate: evil, Claims: map[string]any{
		"hardware-model": "1b5b324a",
		"software":       []any{map[string]any{"name": evil, "version": evil}, "not a map"},
		"measurements":   []any{map[string]any{"name": evil, "algorithm": evil, "digest": evil}},
	}}
	for _, row := range l.Rows() {
		require.LessOrEqual(t, len(row.Name), maxName)
		require.LessOrEqual(t, len(row.Value), maxValue)
		require.NotContains(t, row.Name+row.Value, "\x1b")
		require.NotContains(t, row.Name+row.Value, "\n")
		require.NotContains(t, row.Name+row.Value, "\u202e")
	}
	require.Equal(t, "?[2J root?"+strings.Repeat("x", 100), Line(evil, 0))
}

func TestCertificateName(t *testing.T) {
	t.Parallel()
	subject := pkix.Name{CommonName: "cn"}
	require.Equal(t, "a, b", certificateName(&x509.Certificate{Subject: subject, DNSNames: []string{"a", "b"}}))
	require.Equal(t, "::1", certificateName(&x509.Certificate{Subject: subject, IPAddresses: []net.IP{net.IPv6loopback}}))
	require.Equal(t, "cn", certificateName(&x509.Certificate{Subject: subject}))
	evil := pkix.Name{CommonName: "\u009b2J" + strings.Repeat("x", 2*maxCertificate)}
	require.Equal(t, "?2J"+strings.Repeat("x", maxCertificate-6)+"...", certificateName(&x509.Certificate{Subject: evil}))
}

func TestTraceOfFailures(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var got []string
	l := NewLog(func(s Step) {
		require.NoError(t, WriteStep(&out, s))
		got = append(got, s.Who+": "+s.What+": "+s.Note)
	})
	trace := l.Trace("client", "server", true)
	bad := errors.New("secret \x1b detail")
	trace.Attested(time.Millisecond, bad)
	trace.Validated(time.Millisecond, bad)
	trace.Appraised(nil, time.Millisecond, bad)
	trace.FrameSent(expat.Frame{Name: "RESULT", Size: 7})
	trace.FrameReceived(expat.Frame{Name: "ALERT", Size: 6})
	trace.Done(bad)
	require.NotContains(t, out.String(), "detail")
	require.Equal(t, []string{
		"client: attest: failed",
		"client: validate: failed",
		"client: appraise: the server's Evidence: rejected",
		"client -> server: RESULT: my verdict on you",
		"server -> client: ALERT: why I close",
		"client: closed: no application byte has passed",
	}, got)
	require.Empty(t, l.Steps(), "none is kept of what was told")
	require.Nil(t, l.Trace("client", "server", false).FrameSent)
}

// On an open connection there is a line for each renewal, and none for its frames.
func TestRenewals(t *testing.T) {
	t.Parallel()
	l := NewLog(nil)
	a, v := both{}, both{}
	cfg := &expat.Config{Attester: a, Verifier: v}
	trace := l.Trace("client", "server", true)
	l.Renewals(cfg, "client", "server")
	trace.Done(nil)
	trace.FrameSent(expat.Frame{Name: "REQUEST", Size: 7})
	trace.FrameReceived(expat.Frame{Name: "AUTHENTICATOR", Size: 6})
	trace.Attested(time.Millisecond, nil)
	trace.Validated(time.Millisecond, nil)
	trace.Appraised(nil, time.Millisecond, errors.New("no"))
	cfg.AfterReattest(nil, new(attestation.Result), nil)
	cfg.AfterReattest(nil, nil, errors.New("no"))
	cfg.Reattested(nil)
	var got []string
	for _, s := range l.Steps() {
		got = append(got, s.Who+": "+s.What+": "+s.Note)
	}
	require.Equal(t, []string{
		"client: open: application data may flow",
		"client: renewed: the server's Evidence: " + new(attestation.Result).Tier().String(),
		"server: renewed: the client's Evidence: accepted",
	}, got)

	one := &expat.Config{Attester: a}
	l.Renewals(one, "client", "server")
	require.Nil(t, one.AfterReattest)
	other := &expat.Config{Verifier: v}
	l.Renewals(other, "client", "server")
	require.Nil(t, other.Reattested)
}

// both is an Attester and a Verifier that is never called.
type both struct {
	attestation.Attester
	attestation.Verifier
}

func (both) MediaTypes() []string { return nil }

func TestWriteStep(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, WriteStep(&out, Step{
		At: 999990 * time.Microsecond, Who: "client -> server", What: "AUTHENTICATOR", Bytes: 262144, Note: strings.Repeat("n", 100),
	}))
	require.Equal(t, "  999.99 ms", out.String()[:11])
	require.LessOrEqual(t, len(out.String()), 101)
}
