package ear

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// site serves a key set over https and counts the requests.
type site struct {
	*httptest.Server
	*clock
	requests atomic.Int32

	mu      sync.Mutex
	handler http.HandlerFunc
}

func newSite(t testing.TB) *site {
	s := &site{clock: newClock()}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.mu.Lock()
		h := s.handler
		s.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

func (s *site) serve(t testing.TB, ids ...string) {
	var keys []Key
	for _, id := range ids {
		keys = append(keys, Key{ID: id, Public: &newKey(t).PublicKey})
	}
	data, err := MarshalKeys(keys...)
	require.NoError(t, err)
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.Write(data) })
}

func (s *site) fail() {
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

func (s *site) source(t testing.TB) *NetworkJWKS {
	n, err := NewNetworkJWKS(s.URL, NetworkOptions{Transport: s.Client().Transport, Now: s.Now})
	require.NoError(t, err)
	return n
}

func count(t testing.TB, n *NetworkJWKS, kid string) int {
	t.Helper()
	keys, err := n.Keys(context.Background(), kid)
	require.NoError(t, err)
	return len(keys)
}

func TestNetworkRotation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve(t, "old")
	n := s.source(t)
	require.Equal(t, 1, count(t, n, "old"))
	require.Equal(t, 1, count(t, n, "old"))
	require.EqualValues(t, 1, s.requests.Load(), "cached")

	// A new key is found at once, but no more often than MinInterval.
	s.serve(t, "old", "new")
	require.Zero(t, count(t, n, "new"))
	require.EqualValues(t, 1, s.requests.Load(), "too early")
	s.add(DefaultMinInterval - 1)
	require.Zero(t, count(t, n, "new"))
	require.EqualValues(t, 1, s.requests.Load())
	s.add(1)
	require.Equal(t, 1, count(t, n, "new"))
	require.Equal(t, 2, count(t, n, ""))
	require.EqualValues(t, 2, s.requests.Load())

	// A key that is withdrawn is forgotten after RefreshAfter.
	s.serve(t, "new")
	s.add(DefaultRefreshAfter - 1)
	require.Equal(t, 1, count(t, n, "old"))
	s.add(1)
	require.Zero(t, count(t, n, "old"))
	require.EqualValues(t, 3, s.requests.Load())
}

// Without any keys nobody can be judged: a URL that was down for a moment, as when
// everything is started together, costs a second at first and not MinInterval.
func TestNetworkColdStart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fail()
	n := s.source(t)
	asked := func(want int32) {
		t.Helper()
		_, err := n.Keys(context.Background(), "k")
		require.ErrorIs(t, err, ErrKeySet)
		require.Equal(t, want, s.requests.Load())
	}
	asked(1)
	s.add(time.Second - 1)
	asked(1)
	for i, pause := range []time.Duration{1, time.Second * 2, time.Second * 4, time.Second * 8, time.Second * 16, DefaultMinInterval, DefaultMinInterval} {
		s.add(pause - 1)
		asked(int32(i + 1))
		s.add(1)
		asked(int32(i + 2))
	}
	s.serve(t, "k")
	s.add(DefaultMinInterval)
	require.Equal(t, 1, count(t, n, "k"))

	// With keys a failure is followed by MinInterval, as before.
	s.fail()
	s.add(DefaultRefreshAfter)
	before := s.requests.Load()
	require.Equal(t, 1, count(t, n, "k"))
	s.add(DefaultMinInterval - 1)
	require.Equal(t, 1, count(t, n, "k"))
	require.Equal(t, before+1, s.requests.Load())
}

// Tokens with invented kids cause no storm of requests.
func TestNetworkUnknownKidStorm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve(t, "k")
	n := s.source(t)
	s.add(time.Hour)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { require.Zero(t, count(t, n, strings.Repeat("x", i+1))) })
	}
	wg.Wait()
	require.EqualValues(t, 1, s.requests.Load())
}

func TestNetworkDown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fail()
	n := s.source(t)
	ctx := context.Background()
	for range 3 { // never any keys
		_, err := n.Keys(ctx, "k")
		require.ErrorIs(t, err, ErrKeySet)
		require.ErrorContains(t, err, "answered 503")
	}
	require.EqualValues(t, 1, s.requests.Load())

	s.serve(t, "k")
	s.add(DefaultMinInterval)
	require.Equal(t, 1, count(t, n, "k"))

	// Old keys serve until MaxStale; of other keys nothing is known.
	s.fail()
	s.add(DefaultMaxStale)
	require.Equal(t, 1, count(t, n, "k"))
	_, err := n.Keys(ctx, "other")
	require.ErrorIs(t, err, ErrKeySet)
	s.add(1)
	_, err = n.Keys(ctx, "k")
	require.ErrorIs(t, err, ErrKeySet)
	require.ErrorContains(t, err, "older than 24h0m0s")

	// An empty set, as any other that cannot be used, is a failure.
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) })
	s.add(DefaultMinInterval)
	_, err = n.Keys(ctx, "k")
	require.ErrorContains(t, err, "0 keys")
	s.serve(t, "k")
	s.add(DefaultMinInterval)
	require.Equal(t, 1, count(t, n, "k"))
}

func TestNetworkAnswers(t *testing.T) {
	t.Parallel()
	good, err := MarshalKeys(Key{ID: "k", Public: &newKey(t).PublicKey})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"redirect":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "answered 302"},
		"no set":    {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "not a JSON object"},
		"too long":  {func(w http.ResponseWriter, _ *http.Request) { w.Write(append(good, make([]byte, maxKeySet)...)) }, "65537 bytes"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999"); w.Write(good) }, "unexpected EOF"},
		"empty":     {func(http.ResponseWriter, *http.Request) {}, "not a JSON object"},
	} {
		s := newSite(t)
		s.answer(c.handler)
		_, err := s.source(t).Keys(context.Background(), "k")
		require.ErrorIs(t, err, ErrKeySet, name)
		require.ErrorContains(t, err, c.want, name)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNetworkTransport(t *testing.T) {
	t.Parallel()
	n, err := NewNetworkJWKS("https://keys.example", NetworkOptions{Transport: transport(func(*http.Request) (*http.Response, error) { panic("x") })})
	require.NoError(t, err)
	_, err = n.Keys(context.Background(), "")
	require.ErrorContains(t, err, "the transport panicked with a string")
	require.ErrorIs(t, err, ErrKeySet)

	gone := errors.New("no route")
	n, err = NewNetworkJWKS("https://keys.example", NetworkOptions{Transport: transport(func(*http.Request) (*http.Response, error) { return nil, gone })})
	require.NoError(t, err)
	_, err = n.Keys(context.Background(), "")
	require.ErrorIs(t, err, gone)
}

// idle counts how often connections are given up.
type idle struct {
	transport
	closed atomic.Int32
}

func (i *idle) CloseIdleConnections() { i.closed.Add(1) }

// After a failure the next fetch has a connection of its own: one whose other side has gone
// without a word would fail it again for as long as the kernel does not notice.
func TestNetworkNewConnection(t *testing.T) {
	t.Parallel()
	c, down := newClock(), errors.New("down")
	i := &idle{transport: func(*http.Request) (*http.Response, error) { return nil, down }}
	n, err := NewNetworkJWKS("https://keys.example", NetworkOptions{Transport: i, Now: c.Now})
	require.NoError(t, err)
	for want := range int32(3) {
		_, err = n.Keys(context.Background(), "k")
		require.ErrorIs(t, err, down)
		require.Equal(t, want, i.closed.Load())
		c.add(DefaultMinInterval)
	}
}

// The end of one caller's context does not end the fetch that others wait for; the
// timeout does.
func TestNetworkWaiting(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 1)
	hang := transport(func(r *http.Request) (*http.Response, error) {
		began <- struct{}{}
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	n, err := NewNetworkJWKS("https://keys.example", NetworkOptions{Transport: hang, Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := n.Keys(context.Background(), "")
		waiting <- err
	}()
	<-began
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = n.Keys(ctx, "")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ErrKeySet)
	require.ErrorIs(t, <-waiting, context.DeadlineExceeded)
}

// While the URL hangs, keys that may still be used are had at once; only the first to
// notice waits.
func TestNetworkHangs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.serve(t, "k")
	var hangs atomic.Bool
	through := s.Client().Transport
	n, err := NewNetworkJWKS(s.URL, NetworkOptions{Now: s.Now, Timeout: 2 * time.Second, Transport: transport(func(r *http.Request) (*http.Response, error) {
		if hangs.Load() {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return through.RoundTrip(r)
	})})
	require.NoError(t, err)
	require.Equal(t, 1, count(t, n, "k"))
	hangs.Store(true)
	s.add(DefaultRefreshAfter)
	require.Equal(t, 1, count(t, n, "k"), "the first waits until the fetch has failed")

	s.add(DefaultMinInterval)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for range 3 {
		keys, err := n.Keys(over, "k")
		require.NoError(t, err)
		require.Len(t, keys, 1)
	}
	_, err = n.Keys(over, "other")
	require.ErrorIs(t, err, context.Canceled, "of another key nothing is known")
	s.add(DefaultMaxStale)
	_, err = n.Keys(over, "k")
	require.ErrorIs(t, err, context.Canceled, "too old")
	n.mu.Lock()
	fetching := n.fetching
	n.mu.Unlock()
	<-fetching

	hangs.Store(false)
	s.serve(t, "new")
	s.add(DefaultMinInterval)
	require.Equal(t, 1, count(t, n, "new"))
	require.Zero(t, count(t, n, "k"))
}

func TestNetworkLoopback(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	set, err := p.issuer.JWKS()
	require.NoError(t, err)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(set) }))
	defer s.Close()
	n, err := NewNetworkJWKS(s.URL, NetworkOptions{AllowLoopbackHTTP: true})
	require.NoError(t, err)
	defer n.o.Transport.(*http.Transport).CloseIdleConnections()
	p.options.Keys = n
	_, err = p.check(t, p.issue(t, p.statement()))
	require.NoError(t, err)
}

func TestNewNetworkJWKSMisuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url string
		o   NetworkOptions
		ok  bool
	}{
		{"https://keys.example/jwks.json", NetworkOptions{}, true},
		{"https://keys.example", NetworkOptions{RefreshAfter: 48 * time.Hour}, true},
		{"https://keys.example", NetworkOptions{RefreshAfter: time.Hour, MaxStale: time.Hour}, true},
		{"http://127.0.0.1:80", NetworkOptions{AllowLoopbackHTTP: true}, true},
		{"http://[::1]:80", NetworkOptions{AllowLoopbackHTTP: true}, true},
		{"http://localhost", NetworkOptions{AllowLoopbackHTTP: true}, true},
		{"http://127.0.0.1", NetworkOptions{}, false},
		{"http://keys.example", NetworkOptions{AllowLoopbackHTTP: true}, false},
		{"http://192.0.2.1", NetworkOptions{AllowLoopbackHTTP: true}, false},
		{"ftp://localhost", NetworkOptions{AllowLoopbackHTTP: true}, false},
		{"file:///etc/keys", NetworkOptions{}, false},
		{"https://user@keys.example", NetworkOptions{}, false},
		{"https://", NetworkOptions{}, false},
		{"https://\x00", NetworkOptions{}, false},
		{"https://keys.example", NetworkOptions{Timeout: -1}, false},
		{"https://keys.example", NetworkOptions{MinInterval: -1}, false},
		{"https://keys.example", NetworkOptions{RefreshAfter: DefaultMinInterval}, true},
		{"https://keys.example", NetworkOptions{RefreshAfter: DefaultMinInterval - 1}, false},
		{"https://keys.example", NetworkOptions{RefreshAfter: time.Hour, MaxStale: time.Hour - 1}, false},
	} {
		_, err := NewNetworkJWKS(c.url, c.o)
		if c.ok {
			require.NoError(t, err, c.url)
			continue
		}
		require.ErrorIs(t, err, attestation.ErrMisuse, c.url)
	}
}
