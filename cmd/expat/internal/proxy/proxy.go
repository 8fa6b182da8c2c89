package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/limit"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier/policy"
)

// proxy is one listener and where it leads.
type proxy struct {
	name    string
	spec    config.Proxy // its fixed part counts
	own     *platform.Own
	judge   *judge
	signer  *signer // nil: no header
	metrics *metrics
	log     *slog.Logger
	sampled *sampledLog

	now       func() time.Time
	issued    atomic.Pointer[tls.Certificate] // nil: this side shows what is in a file
	unrenewed string                          // why it was not renewed; of the watching goroutine

	current  atomic.Pointer[generation]
	listener *limit.Listener
	open     sync.WaitGroup // connections in mode tcp

	server        *http.Server // in mode http
	serveListener func() error
	requests      atomic.Int64

	probe probe
}

// newProxy prepares a proxy; it has no generation yet.
func newProxy(ctx context.Context, spec config.Proxy, every time.Duration, m *metrics, log *slog.Logger) (*proxy, error) {
	log = log.With("proxy", spec.Name)
	p := &proxy{name: spec.Name, spec: spec, metrics: m, log: log, now: time.Now, sampled: &sampledLog{log: log, kinds: make(map[string]*kind)}}
	m.begin(spec.Name)
	var err error
	if p.own, err = newOwn(ctx, &spec); err != nil {
		return nil, err
	}
	if p.own.Renew != nil {
		p.issued.Store(&p.own.Certificate)
	}
	if p.judge, err = newJudge(ctx, spec.Verify, every, p.policyChanged); err != nil {
		return nil, errors.Join(err, p.own.Close())
	}
	if spec.Result != nil {
		if p.signer, err = newSigner(spec.Result); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// Close lets go of the device and the Verifier.
func (p *proxy) Close() error { return errors.Join(p.judge.Close(), p.own.Close()) }

// use makes a generation the one for connections from now on.
func (p *proxy) use(g *generation) {
	before := p.current.Swap(g)
	if p.listener != nil {
		p.listener.SetLimits(g.limits())
	}
	if before != nil {
		before.closeIdle()
	}
	if g.certificate != nil {
		p.ends(g.certificate)
	}
}

// listen opens the listener.
func (p *proxy) listen(ctx context.Context) error {
	ln, err := listen(ctx, p.spec.Listen)
	if err != nil {
		return err
	}
	m, name := p.metrics, p.name
	open, received, sent := m.connections.WithLabelValues(name), m.received.WithLabelValues(name), m.sent.WithLabelValues(name)
	observer := limit.Observer{
		Accepted: func(net.Conn) { open.Inc() },
		Closed:   open.Dec,
		Refused:  p.overLimit,
		Bytes: func(r, s int) {
			received.Add(float64(r))
			sent.Add(float64(s))
		},
		Failed: func(err error) {
			m.acceptErrors.WithLabelValues(name).Inc()
			p.log.Error("accept fails", "reason", oneLine(err))
		},
		Recovered: func() { p.log.Info("accept works again") },
	}
	if p.spec.Mode == config.HTTP { // a relay looks at both of its connections
		observer.Idle = p.spec.Timeouts.Idle
	}
	p.listener = limit.New(ln, p.current.Load().limits(), observer)
	return nil
}

// config is what the exchange needs, on either side.
func (p *proxy) config(t *tls.Config) *expat.Config {
	c := &expat.Config{
		TLS: t, Attester: p.own.Attester, Timeout: p.spec.Timeouts.Handshake, MaxExchanges: p.spec.Limits.Exchanges,
		Reattest: p.spec.Reattest, ReattestEvery: p.spec.ReattestEvery,
		Trace: &expat.Trace{
			Attested: func(took time.Duration, err error) { observe(p.metrics.attester, p.name, took, err) },
			Appraised: func(_ *attestation.Result, took time.Duration, err error) {
				observe(p.metrics.verifier, p.name, took, err)
			},
		},
	}
	if p.issued.Load() != nil {
		c.GetIdentities = p.identities
	}
	if p.judge.Verifier != nil {
		c.Verifier = p.judge.Verifier
		c.AfterReattest = func(_ *expat.Conn, _ *attestation.Result, err error) {
			p.metrics.reattests.WithLabelValues(p.name, outcomeOf(err)).Inc()
		}
	}
	return c
}

// serverConfig serves with the generation of the moment.
func (p *proxy) serverConfig() *expat.Config {
	c := p.config(&tls.Config{
		RootCAs: x509.NewCertPool(), // judges servers: nobody here
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return p.current.Load().server, nil
		},
	})
	c.Refused = func(remote net.Addr, err error) { p.refuse(remote, err) }
	c.Trace.Done = func(err error) {
		if err == nil {
			p.decided(nil)
		}
	}
	return c
}

// decided counts an exchange, and on the client side tells why it failed.
func (p *proxy) decided(err error) {
	if err == nil {
		p.metrics.handshakes.WithLabelValues(p.name, accepted).Inc()
		return
	}
	p.refuse(nil, err)
}

// refuse counts and logs an exchange that failed. The reason never holds Evidence.
func (p *proxy) refuse(remote net.Addr, err error) {
	p.metrics.handshakes.WithLabelValues(p.name, refused).Inc()
	side, reason := reasonOf(err)
	p.metrics.refusals.WithLabelValues(p.name, side, reason).Inc()
	attrs := []any{"side", side, "reason", reason, "error", oneLine(err)}
	var e *expat.Error
	if errors.As(err, &e) {
		attrs = append(attrs, "step", string(e.Stage))
	}
	if remote != nil {
		attrs = append(attrs, "remote", remote.String())
	}
	p.sampled.write(slog.LevelWarn, side+reason, "refused", attrs...)
}

func (p *proxy) overLimit(remote net.Addr, why limit.Reason) {
	p.metrics.refusals.WithLabelValues(p.name, string(expat.Local), string(why)).Inc()
	p.sampled.write(slog.LevelWarn, string(why), "refused", "side", string(expat.Local), "reason", string(why), "remote", remote.String())
}

// unreachable counts and logs a connection or request for which there is no upstream.
func (p *proxy) unreachable(err error) {
	p.metrics.refusals.WithLabelValues(p.name, string(expat.Local), "upstream").Inc()
	p.sampled.write(slog.LevelError, "upstream", "no upstream", "error", oneLine(err))
}

func (p *proxy) policyChanged(file string, in *policy.Policy, err error) {
	p.metrics.reloadsPolicy.WithLabelValues(p.name, outcomeOf(err)).Inc()
	if err != nil {
		p.log.Error("policy not changed", "file", file, "in_force", in.ID(), "error", oneLine(strictyaml.First(err, "expat policy check "+file)))
		return
	}
	p.log.Info("policy changed", "file", file, "in_force", in.ID())
}
