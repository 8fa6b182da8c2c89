package proxy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/rotate"
)

// errRestart: the new configuration cannot follow the one in force.
var errRestart = errors.New("it changes more than upstreams, limits and names of reloaded files; start the sidecar anew for that")

// watch keeps everything up to date until ctx ends: on demand, and where the content of
// a file changes.
func (s *Sidecar) watch(ctx context.Context, demanded <-chan struct{}) {
	tick := time.NewTicker(s.file.Reload.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, p := range s.proxies {
				p.renew()
			}
			if s.pending || s.files.changed() {
				s.reload()
			}
		case <-demanded:
			s.reload()
			for _, p := range s.proxies {
				for _, r := range p.judge.policies {
					_ = r.Reload(ctx) // reported where the content is new
				}
			}
		}
	}
}

// reload takes what the files hold now, for connections from now on; where anything of
// it is not good, everything stays as it was. The same content is reported once.
func (s *Sidecar) reload() {
	f := make(files)
	err := s.next(f)
	before := s.files
	s.files, s.pending = f, errors.Is(err, rotate.ErrNotValidNow)
	if err != nil {
		s.files = f.with(before)
	}
	switch {
	case s.files.same(before):
	case err != nil:
		s.metrics.reloads.WithLabelValues(failed).Inc()
		s.log.Error("configuration not changed", "file", s.path, "error", oneLine(err))
	default:
		s.metrics.reloads.WithLabelValues(accepted).Inc()
		s.log.Info("configuration changed", "file", s.path)
	}
}

// next builds all generations anew and uses them, or none.
func (s *Sidecar) next(f files) error {
	file, err := config.Load(s.path, f.read)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(file.Fixed(), s.file.Fixed()) {
		return fmt.Errorf("%s: %w", s.path, errRestart)
	}
	generations := make([]*generation, len(s.proxies))
	for i, p := range s.proxies {
		if generations[i], err = p.generation(file.Proxies[i], f); err != nil {
			return err
		}
	}
	for i, p := range s.proxies {
		p.use(generations[i])
	}
	s.file = file
	return nil
}

// check builds a generation without a device.
func (p *proxy) check(f files) error {
	if p.spec.Result != nil {
		if _, err := newSigner(p.spec.Result); err != nil {
			return fmt.Errorf("%s: result: %w", p.name, err)
		}
	}
	if p.spec.Roots != "" {
		if _, err := f.roots(p.spec.Roots); err != nil {
			return fmt.Errorf("%s: roots: %w", p.name, err)
		}
	}
	if id := p.spec.Identity; id != nil {
		if _, err := f.certificate(id.Certificate, id.Key, p.now()); err != nil {
			return fmt.Errorf("%s: identity: %w", p.name, err)
		}
	}
	if b := p.spec.BackendTLS; b != nil {
		if _, err := backendTLS(b, f, p.now()); err != nil {
			return fmt.Errorf("%s: backend_tls: %w", p.name, err)
		}
	}
	return nil
}
