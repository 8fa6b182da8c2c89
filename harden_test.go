package expat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// cache is a client's session cache that records what it is asked.
type cache struct {
	mu         sync.Mutex
	puts, gets int
	tls.ClientSessionCache
}

func newCache() *cache { return &cache{ClientSessionCache: tls.NewLRUClientSessionCache(8)} }

func (c *cache) Get(k string) (*tls.ClientSessionState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets++
	return c.ClientSessionCache.Get(k)
}

func (c *cache) Put(k string, s *tls.ClientSessionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.puts++
	c.ClientSessionCache.Put(k, s)
}

// weak is a configuration that would undo all of DESIGN 4.
func (w *world) weak() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{w.server}, ClientCAs: w.ca.Pool(),
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(4), Renegotiation: tls.RenegotiateFreelyAsClient,
	}
}

// E-1, E-3: a server sends no NewSessionTicket, with and without a configuration
// that GetConfigForClient returned, seen from a client that would take one.
func TestNoTickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]func(*Config){
		"own configuration": func(*Config) {},
		"weak configuration": func(c *Config) {
			c.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.weak(), nil }
		},
		"tickets asked for": func(c *Config) {
			c.TLS.SessionTicketsDisabled = false
			c.TLS.SetSessionTicketKeys([][32]byte{{1}})
			c.TLS.WrapSession = func(tls.ConnectionState, *tls.SessionState) ([]byte, error) { return []byte("ticket"), nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, sc := w.configs(serverAttests)
			change(sc)
			seen := newCache()
			for range 2 {
				cn, sn := tlspair.Pipe(t)
				r := &rogue{TB: t, role: authenticator.Client, victim: Server(sn, sc), result: make(chan error, 1)}
				r.tls = tls.Client(cn, &tls.Config{RootCAs: w.ca.Pool(), ServerName: serverName, NextProtos: []string{"expat/1"}, ClientSessionCache: seen})
				go func() { r.result <- r.victim.Handshake() }()
				require.NoError(t, r.tls.Handshake())
				require.False(t, r.tls.ConnectionState().DidResume)
				r.session = r.fresh(authenticator.Client)
				afterShown(func(r *rogue) { r.sendResult(wire.ResultMap{}) })(r)
				r.requireEcho() // which reads whatever followed the handshake
				require.NoError(t, r.victim.Close())
				_, err := r.tls.Read(make([]byte, 1))
				require.Equal(t, io.EOF, err)
			}
			require.NotZero(t, seen.gets)
			require.Zero(t, seen.puts)
		})
	}
}

// E-2, E-3, E-5: a client keeps no ticket that a server sends, and resumes nothing.
func TestClientNeverResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, _ := w.configs(serverAttests)
	kept := newCache()
	cc.TLS.ClientSessionCache = kept
	rogueServer := &tls.Config{Certificates: []tls.Certificate{w.server}, NextProtos: []string{"expat/1"}} // sends tickets
	for range 2 {
		cn, sn := tlspair.Pipe(t)
		r := &rogue{TB: t, role: authenticator.Server, victim: Client(cn, cc), result: make(chan error, 1), tls: tls.Server(sn, rogueServer)}
		go func() { r.result <- r.victim.Handshake() }()
		require.NoError(t, r.tls.Handshake())
		require.False(t, r.tls.ConnectionState().DidResume)
		r.session = r.fresh(authenticator.Server)
		var err error
		r.id, err = authenticator.NewIdentity(w.server)
		require.NoError(t, err)
		r.sendHello(attests)
		r.receive()
		r.send(wire.Authenticator, r.answer(&toy{}))
		r.read(wire.Result)
		r.requireEcho()
	}
	require.Zero(t, kept.gets)
	require.Zero(t, kept.puts)
}

// A configuration from GetConfigForClient is hardened like the Config's own, and
// its ClientCAs judge the client.
func TestGetConfigForClient(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	serve := func(c *tls.Config, err error) func(*Config) {
		return func(sc *Config) {
			sc.TLS.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
				if _, ours := info.Conn.(*link); ours || info.ServerName != serverName {
					return nil, errors.New("the callback sees what it should not")
				}
				return c, err
			}
		}
	}
	try := func(change func(*Config)) (*Conn, *Conn, error, error) {
		cc, sc := w.configs(mutual)
		change(sc)
		return connect(t, cc, sc)
	}
	weak := w.weak()
	c, s, err1, err2 := try(serve(weak, nil))
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, uint16(tls.VersionTLS13), s.ConnectionState().Version)
	require.Equal(t, "expat/1", s.tls.ConnectionState().NegotiatedProtocol)
	require.True(t, s.served.SessionTicketsDisabled)
	require.Nil(t, s.served.ClientSessionCache)
	require.Equal(t, tls.RenegotiateNever, s.served.Renegotiation)
	require.Equal(t, []string{"h2", "http/1.1"}, weak.NextProtos, "the callback's own is not modified")
	echo(t, c, s, "hello")

	_, _, err1, err2 = try(serve(nil, nil)) // the Config's own
	require.NoError(t, errors.Join(err1, err2))

	denied := errors.New("denied")
	_, s, err1, err2 = try(serve(nil, denied))
	requireFailure(t, err2, StageTLS, AlertInternal, Local, denied)
	require.Error(t, err1)
	requireDead(t, s)

	strict := w.weak()
	strict.ClientCAs = other.ca.Pool()
	c, s, err1, err2 = try(serve(strict, nil))
	requireFailure(t, err2, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
	requireFailure(t, err1, StageResult, AlertCertificate, Peer, ErrPeerAlert)
	requireDead(t, c)
	requireDead(t, s)

	none := w.weak()
	none.ClientCAs = nil
	_, _, _, err2 = try(serve(none, nil))
	requireFailure(t, err2, StageValidate, AlertCertificate, Local, authenticator.ErrCertificate)
	require.ErrorContains(t, err2, "TLS.ClientCAs is not set")
}

// The identity of the authenticator is what the handshake showed, unless
// Identities says otherwise.
func TestIdentityFollowsHandshake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := leaf(t, w.ca, serverName)
	broken := tls.Certificate{Certificate: second.Certificate, PrivateKey: w.server.PrivateKey}
	get := func(c *tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return func(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if _, ours := info.Conn.(*link); ours {
				return nil, errors.New("the callback sees what it should not")
			}
			return c, nil
		}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   tls.Certificate
	}{
		"GetCertificate":                    {func(c *Config) { c.TLS.Certificates, c.TLS.GetCertificate = nil, get(&second) }, second},
		"GetCertificate before the list":    {func(c *Config) { c.TLS.GetCertificate = get(&second) }, second},
		"GetCertificate that gives nothing": {func(c *Config) { c.TLS.GetCertificate = get(nil) }, w.server},
		"GetConfigForClient": {func(c *Config) {
			c.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{Certificates: []tls.Certificate{second}}, nil
			}}
		}, second},
		"GetCertificate of GetConfigForClient": {func(c *Config) {
			c.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{GetCertificate: get(&second)}, nil
			}}
		}, second},
		"Identities": {func(c *Config) { c.Identities = []tls.Certificate{second} }, second},
	} {
		cc, sc := w.configs(serverAttests)
		c.change(sc)
		conn, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		require.Equal(t, c.want.Leaf.Raw, conn.PeerCertificates()[0].Raw, name)
		require.Len(t, conn.PeerCertificates(), 2)
		require.Nil(t, s.PeerCertificates())
	}
	// A key that cannot sign authenticators is found out before anything is sent.
	cc, sc := w.configs(serverAttests)
	sc.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{broken}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, nil
	}
	_, _, err1, err2 := connect(t, cc, sc)
	require.Error(t, err1)
	require.Error(t, err2)
}

// Several certificates: server_name chooses in the handshake and in the request.
func TestIdentityByServerName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	certs := map[string]tls.Certificate{}
	var list []tls.Certificate
	for _, name := range []string{"a.test", "b.test", "127.0.0.1"} {
		certs[name] = leaf(t, w.ca, name)
		list = append(list, certs[name])
	}
	var bound [][]byte
	var mu sync.Mutex
	_, sc := w.configs(serverAttests)
	sc.TLS.Certificates = list
	sc.Attester = &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
		mu.Lock()
		bound = append(bound, b.SPKI())
		mu.Unlock()
		return toyEvidence(b, toyMediaType)
	}}
	for _, name := range []string{"a.test", "b.test"} {
		cc, _ := w.configs(serverAttests)
		cc.TLS.ServerName = name
		c, _, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		require.Equal(t, certs[name].Leaf.Raw, c.PeerCertificates()[0].Raw)
		require.Equal(t, certs[name].Leaf.RawSubjectPublicKeyInfo, bound[len(bound)-1], "Evidence is bound to the key that is shown")
	}
	// An IP address is no server_name; the identity must be for it all the same.
	cc, _ := w.configs(serverAttests)
	cc.TLS.ServerName = "127.0.0.1"
	ip := sc.TLS.Certificates[2]
	_, first := w.configs(serverAttests)
	first.TLS.Certificates = []tls.Certificate{ip}
	c, _, err1, err2 := connect(t, cc, first)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, ip.Leaf.Raw, c.PeerCertificates()[0].Raw)
}

// Pins are compared with the handshake's certificate; no certificate is no match.
func TestCheckPin(t *testing.T) {
	t.Parallel()
	p := &prepared{Config: &Config{PinnedServerKeys: make([][32]byte, 2)}}
	require.EqualError(t, p.checkPin(tls.ConnectionState{}), "the server shows no certificate")
	cs := tls.ConnectionState{PeerCertificates: []*x509.Certificate{{RawSubjectPublicKeyInfo: []byte("key")}}}
	require.EqualError(t, p.checkPin(cs), "the key of the server's certificate is not in PinnedServerKeys")
}

// Dial takes the server's name from the address.
func TestDial(t *testing.T) {
	t.Parallel()
	ca := newWorld(t)
	ca.server = leaf(t, ca.ca, "127.0.0.1")
	cc, sc := ca.configs(serverAttests)
	cc.TLS.ServerName = ""
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err == nil {
			err = Server(nc, sc).Handshake()
		}
		done <- err
	}()
	c, err := Dial(t.Context(), "tcp", ln.Addr().String(), cc)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Equal(t, ln.Addr().String(), c.RemoteAddr().String())
	require.NotNil(t, c.LocalAddr())
	require.IsType(t, &net.TCPConn{}, c.NetConn())
	require.NoError(t, c.Close())

	addr := ln.Addr().String()
	ln.Close()
	_, err = Dial(t.Context(), "tcp", addr, cc)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, [2]any{StageTLS, Local}, [2]any{e.Stage, e.Side})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Dial(ctx, "tcp", addr, cc)
	requireFailure(t, err, StageTLS, AlertInternal, Local, context.Canceled)
}
