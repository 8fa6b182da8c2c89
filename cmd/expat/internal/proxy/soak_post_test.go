package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/relay"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
)

// This file is what TestSoak keeps busy: a client side and a server side, between
// them a wire that can be cut, and devices of which it is known when they lied.

// ledger knows of all Evidence whether it was a lie, by its binder.
type ledger struct {
	t                  testing.TB
	lied               sync.Map
	strict             atomic.Bool // good Evidence may be refused, too
	accepted, rejected atomic.Int64
}

// device attests keys that lie in files; what it says changes.
type device struct {
	*simulated.Device
	ledger *ledger
	now    atomic.Pointer[conduct]
}

type conduct struct {
	*simulated.Attester
	lies bool
}

func (d *device) behave(lies ...simulated.Lie) {
	d.now.Store(&conduct{simulated.NewAttester(d.Device, lies...).AcceptKeysHeldElsewhere(), len(lies) > 0})
}

func (d *device) MediaTypes() []string { return d.now.Load().MediaTypes() }

func (d *device) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	c := d.now.Load()
	d.ledger.lied.Store(string(b.Binder()), c.lies)
	return c.Attest(ctx, b, accept)
}

// witness compares every verdict of a Verifier with what the ledger knows.
type witness struct {
	attestation.Verifier
	*ledger
}

func (w witness) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	r, err := w.Verifier.Appraise(ctx, b, m)
	lied, known := w.lied.LoadAndDelete(string(b.Binder()))
	switch {
	case err == nil && (!known || lied.(bool)):
		w.t.Error("a bad device was accepted")
	case err == nil:
		w.accepted.Add(1)
	case known && lied.(bool), w.strict.Load():
		w.rejected.Add(1)
	case ctx.Err() == nil:
		w.t.Errorf("a good device was refused: %v", err)
	}
	return r, err
}

// wire forwards connections, until it cuts them.
type wire struct {
	*backend
	mu   sync.Mutex
	open map[*strand]bool
}

type strand struct {
	since time.Time
	cut   context.CancelCauseFunc
}

var errWire = errors.New("the wire was cut")

func newWire(t testing.TB, to string) *wire {
	w := &wire{open: make(map[*strand]bool)}
	w.backend = serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		ctx, cut := context.WithCancelCause(context.Background())
		defer cut(nil)
		s := &strand{time.Now(), cut}
		w.mu.Lock()
		w.open[s] = true
		w.mu.Unlock()
		_ = relay.Run(ctx, c.(*net.TCPConn), up.(*net.TCPConn), time.Hour)
		w.mu.Lock()
		delete(w.open, s)
		w.mu.Unlock()
	})
	return w
}

// cut breaks off all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.open {
		s.cut(errWire)
	}
}

// olderThan counts connections that are open and were at a time.
func (w *wire) olderThan(at time.Time) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.open {
		if s.since.Before(at) {
			n++
		}
	}
	return n
}

// end is one sidecar of a post, and its device.
type end struct {
	*running
	proxy  *proxy
	device *device
	name   string // of its files
	key    *ecdsa.PrivateKey
}

// post is a client side and a server side before a backend that echoes.
type post struct {
	t              testing.TB
	figs           *soakFigures
	mode, dir      string
	ledger         *ledger
	ca             *authority
	server, client *end
	wire           *wire
	upstream       string
	epoch          atomic.Int64 // odd: connections may fail; another: they may have
}

const soakFields = "reattest_every: 1s\n    timeouts: {idle: 6s}"

func newPost(t *testing.T, figs *soakFigures, mode, upstream string) *post {
	p := &post{t: t, figs: figs, mode: mode, dir: newState(t), ledger: &ledger{t: t}, upstream: upstream}
	p.ca = newAuthority(t, p.dir, "roots")
	st := filepath.Join(p.dir, "s")
	for _, side := range []state.Side{state.Server, state.Client} { // keys lie in files
		name := platform.PolicyFile(st, side)
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		replace(t, name, []byte(strings.Replace(string(text), "platform: simulated", "platform: simulated\n    allow_external_key: true\n    accept_warning: true", 1)))
	}
	p.server = p.newEnd("server", state.Server)
	p.client = p.newEnd("client", state.Client)
	p.run(p.server, p.serverText(1000))
	p.wire = newWire(t, p.server.addrs["web"])
	p.run(p.client, p.clientText(1000))
	return p
}

func (p *post) newEnd(name string, side state.Side) *end {
	st := filepath.Join(p.dir, "s")
	trust, err := state.Load(st, time.Now())
	require.NoError(p.t, err)
	keys, err := state.LoadKeys(st, time.Now())
	require.NoError(p.t, err)
	reference := &trust.Reference.Server
	if side == state.Client {
		reference = &trust.Reference.Client
	}
	d, err := reference.Device(keys.Vendor)
	require.NoError(p.t, err)
	e := &end{name: name, device: &device{Device: d, ledger: p.ledger}}
	e.device.behave()
	p.certify(e, true)
	return e
}

// certify gives an end a new certificate.
func (p *post) certify(e *end, newKey bool) {
	var err error
	if newKey {
		e.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(p.t, err)
	}
	leaf, err := p.ca.ca.Leaf(e.key, time.Now(), "localhost")
	require.NoError(p.t, err)
	der, err := x509.MarshalPKCS8PrivateKey(e.key)
	require.NoError(p.t, err)
	replace(p.t, p.file(e.name+"-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	replace(p.t, p.file(e.name+".pem"), pemOf(leaf.Certificate...))
}

func (p *post) file(name string) string { return filepath.Join(p.dir, name) }

func (p *post) run(e *end, text string) {
	var err error
	e.running, err = tryStartChanged(p.t, p.dir, text, func(x *proxy) {
		e.proxy = x
		x.own.Attester = e.device
		x.judge.Verifier = witness{x.judge.Verifier, p.ledger}
	})
	require.NoError(p.t, err)
}

// The configurations, which differ in a limit that is never reached.
func (p *post) serverText(limit int) string {
	return p.text(serverSide(p.upstream, "mode: "+p.mode, soakFields, limits(limit)), "server")
}

func (p *post) clientText(limit int) string {
	return p.text(clientSide(p.wire.addr, "mode: "+p.mode, soakFields, limits(limit)), "client")
}

func limits(n int) string {
	return "limits: {connections: " + number(n) + ", connections_per_client: " + number(n) + ", new_per_second_per_client: " + number(n) + "}"
}

func (p *post) text(t, name string) string {
	return head + strings.NewReplacer("{attester: simulated, state: s}", "{certificate: "+name+".pem, key: "+name+"-key.pem}", "s/ca.pem", "roots.pem").Replace(t)
}

// reloads is how many changes an end has taken or refused.
func (e *end) reloads(outcome string) float64 {
	return e.metric("reloads_total", `outcome="`+outcome+`"`)
}

func (e *end) policyReloads(outcome string) float64 {
	return e.metric("policy_reloads_total", `outcome="`+outcome+`",proxy="`+e.proxy.name+`"`)
}

func (e *end) renewals(outcome string) float64 {
	return e.metric("reattestations_total", `outcome="`+outcome+`",proxy="`+e.proxy.name+`"`)
}
