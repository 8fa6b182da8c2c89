package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// collectionType is the media type of a collection in CBOR (RFC 9999, Section 9).
const collectionType = "application/cmw+cbor"

// Verifier has Evidence appraised by a service. It is safe for concurrent use; Close
// it when it is no longer used.
type Verifier struct {
	o         Options
	base      *url.URL
	transport *http.Transport
	client    *http.Client
	slots     chan struct{} // one for each attempt under way
	breaker   *breaker
	cache     *cache

	cleanups chan struct{} // one for each deletion under way

	mu      sync.Mutex
	closed  bool
	pending sync.WaitGroup // attempts, and deletions, which attempts begin
}

var _ attestation.Verifier = (*Verifier)(nil)

// New makes a Verifier. It connects to nothing yet. The error wraps [ErrConfig].
func New(o Options) (*Verifier, error) {
	base, err := o.fill()
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		o: o, base: base,
		transport: newTransport(&o),
		slots:     make(chan struct{}, o.MaxInFlight),
		cleanups:  make(chan struct{}, o.MaxInFlight),
		breaker:   &breaker{threshold: o.BreakAfter, pause: o.BreakFor, now: o.Now},
		cache:     newCache(o.CacheEntries),
	}
	v.client = &http.Client{
		Transport:     v.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return v, nil
}

// MediaTypes lists what the service appraises.
func (v *Verifier) MediaTypes() []string { return append([]string(nil), v.o.MediaTypes...) }

// State is that of the breaker, for a health check: unless it is Closed the service
// was down when last asked.
func (v *Verifier) State() State { return v.breaker.state() }

// Close waits for attempts and deletions under way and closes idle connections. What is
// asked afterwards fails with [ErrClosed].
func (v *Verifier) Close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.pending.Wait()
	v.transport.CloseIdleConnections()
	return nil
}

// Appraise has m appraised for b. The error wraps [attestation.ErrRejected] where the
// service's answer is no, [attestation.ErrMalformed] where it cannot read m, and
// [attestation.ErrUnavailable], with an [*Error], where there is no verdict.
func (v *Verifier) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	a, err := v.obtain(ctx, b, m)
	if err != nil {
		return nil, err
	}
	return a.result, nil
}

// Obtain has m appraised for b and returns the EAR, a JWT that Appraise would have
// accepted, and until when it holds. Errors are those of Appraise.
func (v *Verifier) Obtain(ctx context.Context, b attestation.Binding, m *cmw.Message) (token []byte, expires time.Time, err error) {
	a, err := v.obtain(ctx, b, m)
	if err != nil {
		return nil, time.Time{}, err
	}
	return a.token, a.expires, nil
}

// answer is an EAR that is good.
type answer struct {
	token   []byte
	result  *attestation.Result
	expires time.Time
}

// obtain answers from the cache or asks the service, and checks the answer the same
// way.
func (v *Verifier) obtain(ctx context.Context, b attestation.Binding, m *cmw.Message) (*answer, error) {
	q, err := v.question(b, m)
	if err != nil {
		return nil, err
	}
	id := q.id()
	if token, kept := v.cache.get(id); kept {
		if a, err := v.check(ctx, q, token); err == nil {
			return a, nil
		}
		v.cache.drop(id)
	}
	token, err := v.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	a, err := v.check(ctx, q, token)
	if err != nil {
		return nil, err
	}
	v.cache.put(id, token)
	return a, nil
}

// question is one message and what must be bound to it.
type question struct {
	binding   attestation.Binding
	nonce     []byte // the binder, or the report data
	committed bool   // whether the nonce commits to the key, as the report data does
	mediaType string
	body      []byte
}

func (v *Verifier) question(b attestation.Binding, m *cmw.Message) (*question, error) {
	if !b.Valid() || m == nil {
		return nil, fmt.Errorf("%w: %w: a binding and a message are required", attestation.ErrUnavailable, attestation.ErrMisuse)
	}
	q := &question{binding: b, nonce: b.Binder(), committed: true}
	leaves := m.Leaves()
	for _, leaf := range leaves {
		if leaf.Indicator != 0 && leaf.Indicator != cmw.Evidence {
			return nil, fmt.Errorf("%w: the message is %v, want evidence", attestation.ErrMalformed, leaf.Indicator)
		}
		if !contains(v.o.MediaTypes, leaf.MediaType) {
			return nil, fmt.Errorf("%w: %w: the service does not take %.100q", attestation.ErrUnavailable, attestation.ErrMediaType, leaf.MediaType)
		}
		q.committed = q.committed && contains(v.o.ReportDataTypes, leaf.MediaType)
	}
	if q.committed {
		reportData := b.ReportData()
		q.nonce = reportData[:]
	}
	if m.Kind() != cmw.KindCollection {
		// In our spelling: the peer's can be long.
		i := slices.IndexFunc(v.o.MediaTypes, func(t string) bool { return cmw.SameMediaType(t, leaves[0].MediaType) })
		q.mediaType, q.body = v.o.MediaTypes[i], leaves[0].Value
		return q, nil
	}
	var err error
	if q.body, err = m.MarshalCBOR(); err != nil {
		return nil, fmt.Errorf("%w: %w", attestation.ErrMalformed, err)
	}
	q.mediaType = collectionType
	return q, nil
}

// ask tries to get the EAR until one attempt succeeds or fails for good.
func (v *Verifier) ask(ctx context.Context, q *question) ([]byte, error) {
	for n := 0; ; n++ {
		token, err := v.attempt(ctx, q)
		if err == nil {
			return token, nil
		}
		after, again := transient(err)
		if !again || n+1 == v.o.Attempts || !v.wait(ctx, v.backoff(n, after)) {
			return nil, err
		}
	}
}

// attempt makes one attempt, if there is a place for it and the breaker lets it.
func (v *Verifier) attempt(ctx context.Context, q *question) ([]byte, error) {
	if v.breaker.state() == Open {
		return nil, &Error{Step: StepConnect, Err: ErrOpen}
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return nil, &Error{Step: StepConnect, Err: fmt.Errorf("%w: all %d places are taken: %w", ErrUnreachable, v.o.MaxInFlight, context.Cause(ctx)), final: true}
	}
	if !v.begin() {
		return nil, &Error{Step: StepConnect, Err: ErrClosed}
	}
	defer v.pending.Done()
	probe, err := v.breaker.allow()
	if err != nil {
		return nil, err
	}
	h := unknown
	defer func() { v.breaker.done(probe, h) }()
	token, err := v.exchange(ctx, q)
	h = healthOf(err)
	return token, err
}

// begin counts an attempt, if the Verifier is not closed.
func (v *Verifier) begin() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.closed {
		v.pending.Add(1)
	}
	return !v.closed
}

func contains(list []string, mediaType string) bool {
	for _, t := range list {
		if cmw.SameMediaType(t, mediaType) {
			return true
		}
	}
	return false
}
