// Package fetch downloads what platform vendors publish about their devices:
// certificates, revocation lists and levels of firmware. Extractors use it only
// where an option of theirs says so by name.
//
// A vendor learns thereby which device a relying party looks at, and when; and a
// peer can make a relying party ask for devices of its choice. What is fetched is
// signed, and is verified as if the peer had sent it.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Defaults and limits.
const (
	DefaultTimeout = 5 * time.Second
	DefaultTTL     = time.Hour
	// MaxBody is the longest answer that is read, in bytes.
	MaxBody = 64 << 10
	// MaxEntries is the number of answers that are kept.
	MaxEntries = 1024
	// MaxRequests is the number of requests at a time; others wait.
	MaxRequests = 4
)

// ErrFetch: the vendor's service gave no usable answer.
var ErrFetch = errors.New("the vendor's service gave no answer")

// Options describe a [Fetcher]. The zero value is ready for use.
type Options struct {
	// Timeout of one request. Zero: [DefaultTimeout].
	Timeout time.Duration
	// TTL is how long an answer is kept. Zero: [DefaultTTL].
	TTL time.Duration
	// Proxy is used for every request. Nil: none, whatever the environment
	// says.
	Proxy *url.URL
	// Transport replaces HTTPS and Proxy.
	Transport http.RoundTripper
	// Now is the clock of the cache. Nil: time.Now.
	Now func() time.Time
}

// Answer is one answer of a service. It must not be modified.
type Answer struct {
	Header http.Header
	Body   []byte
}

// Fetcher is a cache in front of vendors' services. It is safe for concurrent use.
type Fetcher struct {
	client *http.Client
	ttl    time.Duration
	now    func() time.Time
	slots  chan struct{}

	mu    sync.Mutex
	cache map[string]entry
}

type entry struct {
	answer Answer
	end    time.Time
}

// New makes a Fetcher.
func New(o Options) *Fetcher {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		t := &http.Transport{TLSHandshakeTimeout: o.Timeout, MaxResponseHeaderBytes: MaxBody, ForceAttemptHTTP2: true, IdleConnTimeout: o.Timeout}
		if o.Proxy != nil {
			t.Proxy = http.ProxyURL(o.Proxy)
		}
		o.Transport = t
	}
	return &Fetcher{
		client: &http.Client{
			Transport: o.Transport, Timeout: o.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		ttl: o.TTL, now: o.Now, slots: make(chan struct{}, MaxRequests), cache: make(map[string]entry),
	}
}

// Get returns what the service has at an https address. Redirects are not
// followed. The error wraps [ErrFetch], or is the cause of ctx's end.
func (f *Fetcher) Get(ctx context.Context, address string) (Answer, error) {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" {
		return Answer{}, fmt.Errorf("%w: the address is not https", ErrFetch)
	}
	if a, ok := f.cached(address); ok {
		return a, nil
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
	if a, ok := f.cached(address); ok { // another request was faster
		return a, nil
	}
	a, err := f.request(ctx, address)
	if err != nil {
		if ctx.Err() != nil {
			return Answer{}, context.Cause(ctx)
		}
		return Answer{}, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	f.keep(address, a)
	return a, nil
}

func (f *Fetcher) request(ctx context.Context, address string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Answer{}, err
	}
	res, err := f.client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxBody+1))
	if err != nil {
		return Answer{}, err
	}
	if len(body) == 0 || len(body) > MaxBody {
		return Answer{}, fmt.Errorf("the answer is not 1 to %d bytes", MaxBody)
	}
	return Answer{Header: res.Header, Body: body}, nil
}

func (f *Fetcher) cached(address string) (Answer, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.cache[address]
	return e.answer, ok && f.now().Before(e.end)
}

// keep makes room, where there is none, by forgetting the answer that ends first.
func (f *Fetcher) keep(address string, a Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.cache[address]; !there && len(f.cache) >= MaxEntries {
		var first string
		for k, e := range f.cache {
			if first == "" || e.end.Before(f.cache[first].end) {
				first = k
			}
		}
		delete(f.cache, first)
	}
	f.cache[address] = entry{a, f.now().Add(f.ttl)}
}
