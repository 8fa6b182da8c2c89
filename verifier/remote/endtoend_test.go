package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/service"
)

// toyVerifier appraises toyEvidence, as the service of this module does: with the
// whole binding. While it is stuck it reaches no verdict.
type toyVerifier struct{ stuck atomic.Bool }

func (*toyVerifier) MediaTypes() []string { return []string{toyType} }

func (v *toyVerifier) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if v.stuck.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n := len(b.Binder())
	value := m.Value()
	if len(value) < n || !b.MatchBinder(value[:n]) || !b.MatchKey(value[n:]) {
		return nil, attestation.Reject(errors.New("binding differs"))
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "toy", Lifetime: time.Minute,
		Appraisals: []attestation.Appraisal{{Environment: "toy", Status: attestation.TierAffirming, Policy: "toy"}},
	})
}

// site is a relying party that listens, a service that appraises for it, and a device
// that connects.
type site struct {
	toy     *toyVerifier
	handler http.Handler
	ln      net.Listener // of the relying party
	remote  *Verifier
	ca      *testca.CA
	device  tls.Certificate

	addr    string // of the service
	service *http.Server
	ended   chan struct{}
}

func newSite(t *testing.T) *site {
	t.Helper()
	key := newKey()
	s := &site{toy: new(toyVerifier), ca: must(testca.New("test", time.Now())), addr: "127.0.0.1:0"}
	s.device = must(s.ca.Leaf(newKey(), time.Now(), "device.test"))
	issuer := must(ear.NewIssuer(ear.IssuerOptions{Key: key, Name: issuerName, Developer: "d", Build: "b"}))
	s.handler = must(service.NewHandler(service.Options{Verifier: s.toy, Issuer: issuer, Timeout: 5 * time.Second}))
	s.start(t)
	s.remote = must(New(Options{
		URL: "http://" + s.addr, PlainHTTPToLoopback: true, MediaTypes: []string{toyType}, SendKey: true,
		Checker:  must(ear.NewChecker(ear.CheckerOptions{Keys: must(ear.Static(ear.Key{Public: &key.PublicKey})), Issuer: issuerName})),
		Attempts: 1, BreakAfter: 3, BreakFor: 100 * time.Millisecond, AttemptTimeout: time.Second, MaxInFlight: 2,
	}))
	s.ln = expat.NewListener(must(net.Listen("tcp", "127.0.0.1:0")), &expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{must(s.ca.Leaf(newKey(), time.Now(), "server.test"))}, ClientCAs: s.ca.Pool()},
		Verifier: s.remote, VerifierTimeout: 2 * time.Second,
	})
	var served sync.WaitGroup
	served.Go(func() {
		for c, err := s.ln.Accept(); err == nil; c, err = s.ln.Accept() {
			served.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, s.ln.Close())
		served.Wait()
		require.NoError(t, s.remote.Close())
		s.stop(t)
	})
	return s
}

func (s *site) start(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", s.addr)
	require.NoError(t, err)
	s.addr, s.service, s.ended = ln.Addr().String(), &http.Server{Handler: s.handler}, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.service.Serve(ln)
	}()
}

func (s *site) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.service.Close())
	<-s.ended
}

func (s *site) MediaTypes() []string { return []string{toyType} }

func (s *site) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return toyEvidence(b), nil
}

// connect opens a connection; the server must send bytes back before it counts.
func (s *site) connect(t *testing.T) (*expat.Conn, error) {
	t.Helper()
	c, err := s.dial(s)
	if c != nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func (s *site) dial(a attestation.Attester) (*expat.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := expat.Dial(ctx, "tcp", s.ln.Addr().String(), &expat.Config{
		TLS:      &tls.Config{RootCAs: s.ca.Pool(), ServerName: "server.test", Certificates: []tls.Certificate{s.device}},
		Attester: a,
	})
	if err != nil {
		return nil, err
	}
	return c, echo(c)
}

func echo(c net.Conn) error {
	want := []byte("application bytes")
	if _, err := c.Write(want); err != nil {
		return err
	}
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("other bytes")
	}
	return err
}

func alertOf(err error) expat.Alert {
	var e *expat.Error
	if errors.As(err, &e) {
		return e.Alert
	}
	return expat.AlertAccepted
}

// B-20: an outage of the service opens no connection, touches none that is open, and
// is over when the service is back, without a restart.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, err := s.connect(t)
	require.NoError(t, err)
	s.stop(t)
	for range 8 {
		_, err = s.connect(t)
		require.Equal(t, expat.AlertVerifierUnavailable, alertOf(err), "%v", err)
		require.NoError(t, echo(first))
	}
	require.NotEqual(t, Closed, s.remote.State())
	s.start(t)
	require.Eventually(t, func() bool {
		_, err := s.connect(t)
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, Closed, s.remote.State())
	require.NoError(t, echo(first))
}

// A service that hangs holds up nobody beyond the deadline, and none that is open.
func TestHangs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, err := s.connect(t)
	require.NoError(t, err)
	s.toy.stuck.Store(true)
	var wg sync.WaitGroup
	began := time.Now()
	for range 10 {
		wg.Go(func() {
			if _, err := s.connect(t); alertOf(err) != expat.AlertVerifierUnavailable {
				t.Errorf("%v", err)
			}
		})
	}
	require.NoError(t, echo(first))
	wg.Wait()
	require.Less(t, time.Since(began), 10*time.Second)
	s.toy.stuck.Store(false)
	require.Eventually(t, func() bool {
		_, err := s.connect(t)
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}

// liar shows Evidence for another key.
type liar struct{}

func (liar) MediaTypes() []string { return []string{toyType} }

func (liar) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return toyEvidence(must(attestation.AssertedBinding(b.Binder(), newBinding().SPKI()))), nil
}

// B-20: while the service comes and goes and hangs, under load, an honest device is let
// in or told that there is no verdict, and a lying one is never let in. When the service
// stays, everybody is judged.
func TestFlapping(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var opened, refused atomic.Int64
	ctx, enough := context.WithCancel(context.Background())
	var devices sync.WaitGroup
	for i := range 8 {
		lies := i%4 == 3
		devices.Go(func() {
			for ctx.Err() == nil {
				a := attestation.Attester(s)
				if lies {
					a = liar{}
				}
				c, err := s.dial(a)
				alert := alertOf(err)
				switch {
				case err == nil && !lies:
					opened.Add(1)
				case lies && (err == nil || alert != expat.AlertAttestationRejected && alert != expat.AlertVerifierUnavailable),
					!lies && alert != expat.AlertVerifierUnavailable:
					t.Errorf("lies: %v, %v", lies, err)
					return
				case alert == expat.AlertAttestationRejected:
					refused.Add(1)
				}
				if err == nil {
					_ = c.Close()
				}
			}
		})
	}
	more := func(n *atomic.Int64) {
		t.Helper()
		before := n.Load()
		require.Eventually(t, func() bool { return n.Load() > before }, 20*time.Second, time.Millisecond)
	}
	for range 3 {
		more(&opened)
		s.stop(t)
		require.Eventually(t, func() bool { return s.remote.State() != Closed }, 20*time.Second, time.Millisecond)
		s.start(t)
		more(&opened)
		more(&refused)
		s.toy.stuck.Store(true)
		require.Eventually(t, func() bool { return s.remote.State() != Closed }, 20*time.Second, time.Millisecond)
		s.toy.stuck.Store(false)
	}
	more(&opened)
	enough()
	devices.Wait()
	require.Eventually(t, func() bool {
		_, err := s.connect(t)
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, Closed, s.remote.State())
}

// While replicas behind one address go from one key to another, whoever fetches the keys
// from that address knows both, as each publishes both, and otherwise one only.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	var issuers []*ear.Issuer
	var both []ear.Key
	for _, name := range []string{"old", "next"} {
		key := newKey()
		issuers = append(issuers, must(ear.NewIssuer(ear.IssuerOptions{Key: key, KeyID: name, Name: issuerName, Developer: "d", Build: "b"})))
		both = append(both, ear.Key{ID: name, Public: &key.PublicKey})
	}
	for _, publish := range []bool{true, false} {
		var replicas []http.Handler
		for _, i := range issuers {
			o := service.Options{Verifier: new(toyVerifier), Issuer: i}
			if publish {
				o.Published = both
			}
			replicas = append(replicas, must(service.NewHandler(o)))
		}
		var turn atomic.Int64
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "newSession") {
				turn.Add(1)
			}
			replicas[turn.Load()%2].ServeHTTP(w, r)
		}))
		t.Cleanup(srv.Close)
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		keys := must(ear.NewNetworkJWKS(srv.URL+"/.well-known/jwks.json", ear.NetworkOptions{Transport: srv.Client().Transport}))
		v := must(New(Options{
			URL: srv.URL, TLS: &tls.Config{RootCAs: roots}, MediaTypes: []string{toyType}, SendKey: true,
			Checker: must(ear.NewChecker(ear.CheckerOptions{Keys: keys, Issuer: issuerName})),
		}))
		good := 0
		for range 6 {
			b := newBinding()
			_, err := v.Appraise(t.Context(), b, toyEvidence(b))
			if err == nil {
				good++
				continue
			}
			require.False(t, publish, "%v", err)
			require.ErrorIs(t, err, ear.ErrUnknownKey)
			require.ErrorIs(t, err, attestation.ErrUnavailable)
		}
		require.Equal(t, map[bool]int{true: 6, false: 3}[publish], good)
		require.NoError(t, v.Close())
	}
}

// A service can lie below a path of a reverse proxy.
func TestBelowAPath(t *testing.T) {
	t.Parallel()
	key := newKey()
	issuer := must(ear.NewIssuer(ear.IssuerOptions{Key: key, Name: issuerName, Developer: "d", Build: "b"}))
	h := must(service.NewHandler(service.Options{Verifier: new(toyVerifier), Issuer: issuer}))
	srv := httptest.NewServer(http.StripPrefix("/verifiers/a", h))
	t.Cleanup(srv.Close)
	v := must(New(Options{
		URL: srv.URL + "/verifiers/a", PlainHTTPToLoopback: true, MediaTypes: []string{toyType}, SendKey: true,
		Checker: must(ear.NewChecker(ear.CheckerOptions{Keys: must(ear.Static(ear.Key{Public: &key.PublicKey})), Issuer: issuerName})),
	}))
	b := newBinding()
	_, err := v.Appraise(t.Context(), b, toyEvidence(b))
	require.NoError(t, err)
	require.NoError(t, v.Close())
}

// I-4: the service compares the key too, and says no.
func TestKeySubstitution(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, err := s.dial(liar{})
	require.Equal(t, expat.AlertAttestationRejected, alertOf(err), "%v", err)
	require.Equal(t, Closed, s.remote.State())
}
