package expathttp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
)

const toyMediaType = "application/vnd.expat-go.toy"

// toy is an Attester whose evidence is the binding and a name, without a signature,
// and the Verifier for it: it shows what HTTP does, not what a TEE does.
type toy struct {
	name     string
	lifetime time.Duration
	warns    bool // the Verifier finds something amiss, and its policy admits it
}

func (*toy) MediaTypes() []string { return []string{toyMediaType} }

func (t *toy) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return cmw.NewRecord(toyMediaType, append(append([]byte{}, b.Binder()...), t.name...), cmw.Evidence)
}

func (t *toy) Appraise(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	v, n := m.Value(), len(b.Binder())
	if len(v) < n || !b.MatchBinder(v[:n]) {
		return nil, attestation.Reject(errors.New("binder differs"))
	}
	o := attestation.ResultOptions{Verifier: "toy", Lifetime: t.lifetime, AcceptWarning: true}
	if o.Lifetime == 0 {
		o.Lifetime = attestation.ConnectionLifetime
	}
	status := attestation.TierAffirming
	if t.warns {
		status = attestation.TierWarning
	}
	o.Appraisals = []attestation.Appraisal{{
		Environment: "toy", Status: status, Policy: "toy",
		Claims: map[string]any{"name": string(v[n:]), "size": len(v) - n},
	}}
	return attestation.NewResult(b, o)
}

var ca = must(testca.New("test", time.Now()))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func leaf(names ...string) []tls.Certificate {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return []tls.Certificate{must(ca.Leaf(key, time.Now(), names...))}
}

// configs returns Configs for mutual attestation in which each side has a name.
func configs(client, server string, protocols ...string) (cc, sc *expat.Config) {
	tc := &tls.Config{RootCAs: ca.Pool(), ClientCAs: ca.Pool(), NextProtos: protocols}
	ct, st := tc.Clone(), tc.Clone()
	ct.Certificates, st.Certificates = leaf("client.test"), leaf("127.0.0.1", "localhost")
	return &expat.Config{TLS: ct, Attester: &toy{name: client}, Verifier: &toy{}, Timeout: 10 * time.Second},
		&expat.Config{TLS: st, Attester: &toy{name: server}, Verifier: &toy{}, Timeout: 10 * time.Second}
}

// quiet keeps net/http's log out of the tests' output.
var quiet = log.New(io.Discard, "", 0)

// serve runs a server on loopback until the test ends and returns its address.
func serve(t testing.TB, cfg *expat.Config, h http.Handler) (*Server, string) {
	t.Helper()
	s, err := NewServer(&http.Server{Handler: h, ErrorLog: quiet}, cfg)
	require.NoError(t, err)
	return s, start(t, s, s.Serve)
}

func start(t testing.TB, s *Server, run func(net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = s.Close(); wg.Wait() })
	return ln.Addr().String()
}

// client returns an HTTP client whose transport is closed when the test ends.
func client(t testing.TB, cfg *expat.Config, o Options) (*http.Client, *Transport) {
	t.Helper()
	tr, err := NewTransport(cfg, o)
	require.NoError(t, err)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}, tr
}

// get sends a GET and returns the response with its body read.
func get(t testing.TB, ctx context.Context, c *http.Client, url string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp, string(body), err
}

// named is the claim by which toys are told apart.
func named(name string) Demand { return Claim("toy", "name", name) }

// peerName is the name of the peer in a verdict, or "".
func peerName(r *attestation.Result, ok bool) string {
	if !ok {
		return ""
	}
	return r.Appraisals()[0].Claims["name"].(string)
}

// describe answers with how a request arrived.
var describe = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	alpn, conn := "", ""
	if r.TLS != nil {
		alpn = r.TLS.NegotiatedProtocol
	}
	if c, ok := expat.FromContext(r.Context()); ok {
		conn = c.ConnectionState().NegotiatedProtocol
	}
	fmt.Fprintf(w, "%s %s %s from %q", r.Proto, alpn, conn, peerName(FromRequest(r)))
})

// pooled are the connections that a transport keeps for an address.
func pooled(tr *Transport, addr string) []*clientConn {
	tr.pool.mu.Lock()
	defer tr.pool.mu.Unlock()
	if h := tr.pool.hosts[addr]; h != nil {
		return slices.Clone(h.conns)
	}
	return nil
}

// forgotten tells that a transport keeps nothing.
func forgotten(tr *Transport) bool {
	tr.pool.mu.Lock()
	defer tr.pool.mu.Unlock()
	return len(tr.pool.hosts) == 0
}
