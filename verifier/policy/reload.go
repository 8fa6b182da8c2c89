package policy

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/strictyaml"
)

// DefaultInterval is how often a [Reloading] looks at its files where
// [ReloadOptions] does not say.
const DefaultInterval = 2 * time.Second

// ReloadOptions say how a policy is kept up to date.
type ReloadOptions struct {
	Options
	// Interval is how often [Reloading.Run] looks. Zero: [DefaultInterval].
	Interval time.Duration
	// Changed is told of every new policy, and of every new content that is no
	// policy, once: p is then the one that stays. It is called by one goroutine
	// at a time. Nil: nobody is told.
	Changed func(p *Policy, err error)
	// Ticks replaces the clock that makes Run look, for tests. Nil: one of Interval.
	Ticks <-chan time.Time
}

// Reloading is a Verifier by the policy that its file has at the moment. Where the
// new content is no good policy, the one before stays in force. An appraisal that
// has begun is finished by the policy that it began with.
type Reloading struct {
	path    string
	options ReloadOptions
	current atomic.Pointer[Policy]

	mu   sync.Mutex // one reload at a time
	seen []source   // as they were at the last attempt
}

var _ attestation.Verifier = (*Reloading)(nil)

// NewReloading loads a policy, which must be good now. The error is as that of
// [Load].
func NewReloading(ctx context.Context, path string, o ReloadOptions) (*Reloading, error) {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	p, seen, err := load(ctx, path, o.Options)
	if err != nil {
		return nil, err
	}
	r := &Reloading{path: path, options: o, seen: seen}
	r.current.Store(p)
	return r, nil
}

// Policy is the one in force.
func (r *Reloading) Policy() *Policy { return r.current.Load() }

// MediaTypes are those of the policy in force.
func (r *Reloading) MediaTypes() []string { return r.Policy().MediaTypes() }

// Appraise judges by the policy in force.
func (r *Reloading) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	return r.Policy().Appraise(ctx, b, m)
}

// Reload loads the file now, changed or not, as on SIGHUP. With an error, which is
// as that of [Load], the policy before stays.
func (r *Reloading) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reload(ctx)
}

// Run looks at the files until ctx ends, and returns its cause.
func (r *Reloading) Run(ctx context.Context) error {
	ticks := r.options.Ticks
	if ticks == nil {
		t := time.NewTicker(r.options.Interval)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks:
			r.poll(ctx)
		}
	}
}

// poll reloads where the content of a file is another. That the times of a file are
// the same proves nothing.
func (r *Reloading) poll(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen {
		b, err := strictyaml.Read(s.path)
		if newSource(s.path, b, err) != s {
			_ = r.reload(ctx) // reported
			return
		}
	}
}

func (r *Reloading) reload(ctx context.Context) error {
	p, seen, err := load(ctx, r.path, r.options.Options)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fresh := fingerprint(seen) != fingerprint(r.seen)
	r.seen = seen
	if err == nil {
		r.current.Store(p)
	}
	if fresh && r.options.Changed != nil {
		r.options.Changed(r.Policy(), err)
	}
	return err
}

// fingerprint tells contents apart.
func fingerprint(all []source) [sha256.Size]byte {
	h := sha256.New()
	for _, s := range all {
		path := sha256.Sum256([]byte(s.path))
		h.Write(path[:])
		h.Write(s.digest[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
