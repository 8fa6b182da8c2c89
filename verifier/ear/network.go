package ear

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Defaults of [NetworkOptions].
const (
	DefaultRefreshAfter = 15 * time.Minute
	DefaultMinInterval  = 30 * time.Second
	DefaultMaxStale     = 24 * time.Hour
	DefaultTimeout      = 5 * time.Second

	// firstRetry is the time between the first two fetches that fail.
	firstRetry = time.Second
)

// NetworkOptions describe a [NetworkJWKS]. Zero durations are the defaults.
type NetworkOptions struct {
	// RefreshAfter is how old a set may be before it is fetched again: a key
	// that the issuer withdraws is trusted for so long. At least MinInterval.
	RefreshAfter time.Duration
	// MinInterval is the least time between two fetches, successful or not,
	// whatever kids the tokens name. Before the first success it is a second after
	// the first failure, and twice as long after each further one.
	MinInterval time.Duration
	// MaxStale is how old a set may be and still be used while the URL is down;
	// at least RefreshAfter. Once a fetch has failed nobody waits for the next ones.
	MaxStale time.Duration
	// Timeout bounds one fetch.
	Timeout time.Duration
	// Transport does the requests. Nil: a clone of [http.DefaultTransport].
	Transport http.RoundTripper
	// AllowLoopbackHTTP admits http to a loopback address, for tests: anyone on
	// this machine who holds the port can then issue EARs.
	AllowLoopbackHTTP bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

func (o *NetworkOptions) setDefaults() error {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.RefreshAfter, DefaultRefreshAfter}, {&o.MinInterval, DefaultMinInterval},
		{&o.MaxStale, max(DefaultMaxStale, o.RefreshAfter)}, {&o.Timeout, DefaultTimeout},
	} {
		if *d.value < 0 {
			return misuse("durations are not negative")
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.RefreshAfter < o.MinInterval || o.MaxStale < o.RefreshAfter {
		return misuse("RefreshAfter is at least MinInterval, MaxStale at least RefreshAfter")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
		if t, ok := o.Transport.(*http.Transport); ok {
			o.Transport = t.Clone()
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// NetworkJWKS is a KeySource that fetches a JWK Set over the network, when it is first
// asked and then as [NetworkOptions] say. A kid that is not in the set causes one fetch
// at most in MinInterval. It is safe for concurrent use and has no goroutine but that of
// a fetch under way.
type NetworkJWKS struct {
	url    string
	o      NetworkOptions
	client *http.Client

	mu        sync.Mutex
	keys      []Key
	fetched   time.Time     // when keys were fetched
	attempted time.Time     // when the last fetch began
	err       error         // of the last fetch
	fetches   int           // that have ended
	fetching  chan struct{} // closed at the end of the fetch under way; nil: none
}

// NewNetworkJWKS makes a KeySource for an https URL. It fetches nothing yet. The error
// wraps [attestation.ErrMisuse].
func NewNetworkJWKS(rawURL string, o NetworkOptions) (*NetworkJWKS, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, misuse("the URL of a key set is not usable")
	}
	loopback := u.Hostname() == "localhost"
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		loopback = ip.IsLoopback()
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback || !o.AllowLoopbackHTTP) {
		return nil, misuse("the URL of a key set is not https")
	}
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: o.Transport,
		// A redirect would move trust to another origin.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &NetworkJWKS{url: rawURL, o: o, client: client}, nil
}

// Keys returns the issuer's keys with this kid. The error wraps [ErrKeySet]: no set
// could be fetched, the one there is is older than MaxStale, or it lacks the kid and
// the last fetch failed.
func (n *NetworkJWKS) Keys(ctx context.Context, kid string) ([]Key, error) {
	n.mu.Lock()
	if n.wanted(kid) {
		done := n.fetching
		if done == nil {
			done = n.start()
		}
		if n.err == nil || !n.serves(kid) { // else the URL is down, and there is what to do without
			n.mu.Unlock()
			select {
			case <-done:
			case <-ctx.Done():
				return nil, keySet("%w", context.Cause(ctx))
			}
			n.mu.Lock()
		}
	}
	defer n.mu.Unlock()
	found := match(n.keys, kid)
	switch {
	case n.keys == nil:
		return nil, n.err
	case n.o.Now().Sub(n.fetched) > n.o.MaxStale:
		return nil, keySet("the last one is older than %v: %w", n.o.MaxStale, n.err)
	case len(found) == 0 && n.err != nil:
		return nil, n.err
	}
	return found, nil
}

// serves tells whether the set that there is has the kid and is not too old.
func (n *NetworkJWKS) serves(kid string) bool {
	return n.o.Now().Sub(n.fetched) <= n.o.MaxStale && len(match(n.keys, kid)) > 0
}

// wanted tells whether a fetch is to be made, or one under way to be looked at.
func (n *NetworkJWKS) wanted(kid string) bool {
	now := n.o.Now()
	fresh := n.keys != nil && now.Sub(n.fetched) < n.o.RefreshAfter
	if fresh && len(match(n.keys, kid)) > 0 {
		return false
	}
	return n.fetching != nil || n.attempted.IsZero() || now.Sub(n.attempted) >= n.interval()
}

// interval is the time between the last fetch and the next.
func (n *NetworkJWKS) interval() time.Duration {
	if n.keys != nil {
		return n.o.MinInterval
	}
	return min(n.o.MinInterval, firstRetry<<min(max(n.fetches-1, 0), 20))
}

// start begins a fetch, which no caller's context ends: others wait for it too.
func (n *NetworkJWKS) start() chan struct{} {
	done := make(chan struct{})
	n.fetching = done
	n.attempted = n.o.Now()
	began, failed := n.attempted, n.err != nil
	go func() {
		if failed { // perhaps because the other side of a connection has gone without a word
			n.client.CloseIdleConnections()
		}
		keys, err := n.fetch()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.fetches++
		if n.err = err; err == nil {
			n.keys, n.fetched = keys, began
		}
		n.fetching = nil
		close(done)
	}()
	return done
}

func (n *NetworkJWKS) fetch() (keys []Key, err error) {
	defer func() {
		if p := recover(); p != nil { // of a Transport that was plugged in
			keys, err = nil, keySet("the transport panicked with a %T", p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), n.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url, nil)
	if err != nil {
		return nil, keySet("%w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return nil, keySet("%w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, keySet("%s answered %d", n.url, resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, keySet("%w", err)
	}
	if keys, err = ParseKeys(data); err != nil {
		return nil, fmt.Errorf("%s: %w", n.url, err)
	}
	return keys, nil
}
