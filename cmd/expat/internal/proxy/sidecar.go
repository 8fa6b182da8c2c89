package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
)

// Options are those of [Run].
type Options struct {
	Path   string          // of the configuration file
	Stdout io.Writer       // gets a line for each listener
	Log    io.Writer       // gets the log
	Reload <-chan struct{} // demands a reload, as SIGHUP does; may be nil

	testingOnlyPrepare func(*proxy) // changes proxies before they serve; may be nil
}

// errDrained: the time for connections to end is over.
var errDrained = errors.New("the sidecar ends")

// Sidecar is all that a configuration names.
type Sidecar struct {
	path     string
	metrics  *metrics
	log      *slog.Logger
	proxies  []*proxy
	admin    *admin // nil: none
	draining atomic.Bool

	file    *config.File // these are the watching goroutine's while there is one
	files   files
	pending bool // what was read last may become valid
}

// Run runs a sidecar until ctx ends, and then until its connections have, or the time
// for that is over. It prints "listening on ADDRESS for NAME" for each listener.
func Run(ctx context.Context, o Options) (err error) {
	f := make(files)
	file, err := config.Load(o.Path, f.read)
	if err != nil {
		return err
	}
	m := newMetrics()
	s := &Sidecar{path: o.Path, metrics: m, log: newLog(lossy{o.Log, m.logErrors}, file.Log), file: file, files: f}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.prepare(ctx, file, f, o.testingOnlyPrepare); err != nil {
		return err
	}
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	if err := s.listen(ctx, work, o.Stdout); err != nil {
		return err
	}
	return s.run(ctx, work, cut, o.Reload)
}

// Check reads a configuration file and what it names, as Run does, without listening.
// It makes no file.
func Check(ctx context.Context, path string) (*config.File, error) {
	f := make(files)
	file, err := config.Load(path, f.read)
	if err != nil {
		return nil, err
	}
	for _, spec := range file.Proxies {
		if id := spec.Identity; id != nil && id.Passport != nil {
			_, stop, err := newPassport(id)
			if err != nil {
				return nil, fmt.Errorf("%s: identity: %w", spec.Name, err)
			}
			_ = stop() // nothing was asked
		}
		if spec.Identity != nil && spec.Identity.State != "" {
			spec.Identity = nil // is made, and its device opened, when the sidecar starts
		}
		j, err := newJudge(ctx, spec.Verify, 0, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: verify: %w", spec.Name, err)
		}
		p := &proxy{name: spec.Name, spec: spec, now: time.Now}
		if err := errors.Join(p.check(f), j.Close()); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// prepare makes the proxies, each with its first generation.
func (s *Sidecar) prepare(ctx context.Context, file *config.File, f files, change func(*proxy)) error {
	for _, spec := range file.Proxies {
		p, err := newProxy(ctx, spec, file.Reload.Interval, s.metrics, s.log)
		if err != nil {
			return fmt.Errorf("%s: %w", spec.Name, err)
		}
		s.proxies = append(s.proxies, p)
		if change != nil {
			change(p)
		}
		g, err := p.generation(spec, f)
		if err != nil {
			return err
		}
		p.use(g)
	}
	return nil
}

// listen opens all listeners before the first of them serves.
func (s *Sidecar) listen(ctx, work context.Context, stdout io.Writer) error {
	for _, p := range s.proxies {
		if err := p.listen(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if p.spec.Mode == config.HTTP {
			if err := p.prepareHTTP(work); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	if s.file.Admin != nil {
		var err error
		if s.admin, err = s.newAdmin(ctx, s.file.Admin, s.log); err != nil {
			return fmt.Errorf("admin: %w", err)
		}
		go s.admin.serve()
	}
	for _, p := range s.proxies {
		if _, err := fmt.Fprintf(stdout, "listening on %s for %s\n", shown(p.listener.Addr()), p.name); err != nil {
			return err
		}
	}
	if s.admin == nil {
		return nil
	}
	_, err := fmt.Fprintf(stdout, "listening on %s for admin\n", shown(s.admin.ln.Addr()))
	return err
}

// run serves until ctx ends or a listener fails, and drains.
func (s *Sidecar) run(ctx, work context.Context, cut context.CancelCauseFunc, reload <-chan struct{}) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var background, serving sync.WaitGroup
	background.Go(func() { s.watch(watching, reload) })
	for _, p := range s.proxies {
		for _, r := range p.judge.policies {
			background.Go(func() { _ = r.Run(watching) }) // ends with its context only
		}
	}
	failed := make(chan error, len(s.proxies))
	for _, p := range s.proxies {
		serving.Go(func() {
			if err := p.serve(work); err != nil {
				failed <- fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		s.log.Error("a listener failed", "error", oneLine(err))
	}
	stop()
	background.Wait()
	s.drain(work, cut, err == nil)
	serving.Wait()
	return err
}

// drain takes nothing new, and lets what is open come to its end for a while.
func (s *Sidecar) drain(work context.Context, cut context.CancelCauseFunc, wait bool) {
	s.draining.Store(true)
	s.metrics.draining.Set(1)
	s.log.Info("draining", "delay", s.file.Shutdown.Delay.String(), "timeout", s.file.Shutdown.Timeout.String())
	if wait {
		time.Sleep(s.file.Shutdown.Delay)
	}
	limit, cancel := context.WithTimeout(work, s.file.Shutdown.Timeout)
	defer cancel()
	var drained sync.WaitGroup
	for _, p := range s.proxies {
		drained.Go(func() {
			if left := p.drain(limit); left > 0 {
				p.log.Warn("connections cut", "connections", left)
			}
		})
	}
	drained.Wait()
	cut(errDrained)
	for _, p := range s.proxies {
		p.finish()
	}
	s.log.Info("ended")
}

// close lets go of everything.
func (s *Sidecar) close() error {
	var errs []error
	if s.admin != nil {
		errs = append(errs, s.admin.close())
	}
	for _, p := range s.proxies {
		if p.listener != nil {
			_ = p.listener.Close() // most often it is
		}
		if g := p.current.Load(); g != nil {
			g.closeIdle()
		}
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
