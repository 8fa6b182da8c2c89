package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/limit"
)

// Limits of the listener for health, readiness and metrics.
const (
	adminConnections = 64
	adminTimeout     = 10 * time.Second
	probeEvery       = time.Second // at most, an upstream is dialled to see whether it answers
)

// readiness is what /readyz answers.
type readiness struct {
	Ready   bool              `json:"ready"`
	Reasons map[string]string `json:"reasons,omitempty"` // why not, by proxy; "" for all
}

// admin serves health, readiness and metrics.
type admin struct {
	server *http.Server
	ln     net.Listener
	ended  chan error
}

func (s *Sidecar) newAdmin(ctx context.Context, c *config.Admin, log *slog.Logger) (*admin, error) {
	ln, err := listen(ctx, c.Listen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: adminTimeout}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.readyz)
	return &admin{
		server: &http.Server{
			Handler: mux, ReadHeaderTimeout: adminTimeout, ReadTimeout: adminTimeout, WriteTimeout: 2 * adminTimeout, IdleTimeout: time.Minute,
			MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		ln:    limit.New(ln, limit.Limits{Connections: adminConnections}, limit.Observer{}),
		ended: make(chan error, 1),
	}, nil
}

func (a *admin) serve() { a.ended <- a.server.Serve(a.ln) }

// close ends it at once: it was there until the last connection ended.
func (a *admin) close() error {
	err := a.server.Close()
	if ended := <-a.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

func (s *Sidecar) readyz(w http.ResponseWriter, r *http.Request) {
	state := s.ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !state.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(state)
}

// ready tells whether new connections are welcome. Of the server sides an upstream must
// answer; that of a client side is another machine, whose failure is no reason to stop
// this one.
func (s *Sidecar) ready(ctx context.Context) readiness {
	if s.draining.Load() {
		return readiness{Reasons: map[string]string{"": "draining"}}
	}
	reasons := make(map[string]string)
	for _, p := range s.proxies {
		if p.spec.Side != config.Server {
			continue
		}
		if err := p.probe.check(ctx, p); err != nil {
			reasons[p.name] = oneLine(err)
		}
	}
	return readiness{Ready: len(reasons) == 0, Reasons: reasons}
}

// probe remembers for a moment whether an upstream answered.
type probe struct {
	mu   sync.Mutex
	at   time.Time
	last error
}

func (b *probe) check(ctx context.Context, p *proxy) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.at) < probeEvery {
		return b.last
	}
	err := p.current.Load().answers(context.WithoutCancel(ctx)) // others wait for it too
	b.at, b.last = time.Now(), err
	return err
}
