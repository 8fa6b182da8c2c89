package expatquic

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/authenticator"
)

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	_, err := Dial(within(t), "127.0.0.1:1", nil, nil)
	requireFailure(t, err, expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
	_, err = Dial(within(t), "127.0.0.1:1", &expat.Config{}, nil)
	requireFailure(t, err, expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
	_, err = Dial(within(t), "127.0.0.1", client, nil)
	requireFailure(t, err, expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
	_, err = Dial(within(t), "127.0.0.1:1", client, &quic.Config{Allow0RTT: true})
	requireFailure(t, err, expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
	require.ErrorContains(t, err, "Allow0RTT")
	_, err = Dial(within(t), "127.0.0.1:no-such-port", client, nil)
	var e *expat.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, expat.StageTLS, e.Stage)

	_, err = Listen("127.0.0.1:0", nil, nil)
	require.ErrorIs(t, err, expat.ErrConfig)
	_, err = Listen("127.0.0.1:0", server, &quic.Config{Allow0RTT: true})
	requireFailure(t, err, expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
	_, err = Listen("127.0.0.1", server, nil)
	require.Error(t, err)
	_, err = Listen("192.0.2.1:0", server, nil)
	require.Error(t, err)
	_, err = Listen("127.0.0.1:0", server, &quic.Config{InitialPacketSize: 1, Versions: []quic.Version{7}})
	requireFailure(t, err, expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
}

// A user's configurations are not changed, and the exchange's stream takes nothing
// from MaxIncomingStreams.
func TestServerConfig(t *testing.T) {
	t.Parallel()
	for in, want := range map[int64]int64{0: 101, 1: 2, 7: 8, -1: 1, 1<<60 - 1: 1 << 60, 1 << 60: 1 << 60, math.MaxInt64: 1 << 60} {
		conf := &quic.Config{MaxIncomingStreams: in}
		got, err := serverConfig(conf)
		require.NoError(t, err)
		require.Equal(t, want, got.MaxIncomingStreams)
		require.Equal(t, in, conf.MaxIncomingStreams)
	}
	got, err := serverConfig(nil)
	require.NoError(t, err)
	require.Equal(t, int64(101), got.MaxIncomingStreams)
	_, err = serverConfig(&quic.Config{Allow0RTT: true})
	require.ErrorIs(t, err, expat.ErrConfig)

	no := errors.New("no")
	for name, c := range map[string]struct {
		chosen *quic.Config
		err    error
		ok     bool
	}{
		"good":  {&quic.Config{MaxIncomingStreams: 3}, nil, true},
		"none":  {nil, nil, false},
		"error": {nil, no, false},
		"0-RTT": {&quic.Config{Allow0RTT: true}, nil, false},
	} {
		conf, err := serverConfig(&quic.Config{GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) { return c.chosen, c.err }})
		require.NoError(t, err)
		got, err := conf.GetConfigForClient(&quic.ClientInfo{})
		require.Equal(t, c.ok, err == nil, name)
		if c.ok {
			require.Equal(t, int64(4), got.MaxIncomingStreams)
		}
		if c.err != nil {
			require.ErrorIs(t, err, c.err)
		}
	}
}

// A client that may open one stream has it for itself.
func TestOneStream(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	at := listen(t, server, &quic.Config{MaxIncomingStreams: 1})
	accepted := at.accept()
	c, err := Dial(within(t), at.Addr().String(), client, nil)
	require.NoError(t, err)
	defer c.Close()
	wait(t, accepted)
	_, err = c.OpenStream()
	require.NoError(t, err)
	_, err = c.OpenStream()
	require.Error(t, err)
}

// The certificates and roots of the TLS configuration that served are those of the
// exchange, as with TCP.
func TestServedConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]func(*tls.Config){
		"GetConfigForClient": func(c *tls.Config) {
			chosen := c.Clone()
			c.Certificates, c.ClientCAs = nil, nil
			c.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
				if info.ServerName != "server.test" {
					return nil, errors.New("who is asked for?")
				}
				return chosen, nil
			}
		},
		"GetCertificate": func(c *tls.Config) {
			cert := c.Certificates[0]
			c.Certificates = nil
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
		},
		"GetIdentities": func(c *tls.Config) { c.Certificates = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := w.configs(mutual)
			change(server.TLS)
			asked := [2]int{1, 1}
			if name == "GetIdentities" {
				asked = [2]int{}
				server.GetIdentities = func(context.Context) ([]tls.Certificate, error) { asked[0]++; return []tls.Certificate{w.server}, nil }
				client.TLS.Certificates = nil
				client.GetIdentities = func(context.Context) ([]tls.Certificate, error) { asked[1]++; return []tls.Certificate{w.client}, nil }
				server.TLS.ClientAuth, server.RequireSameLeaf = tls.RequireAnyClientCert, true
			}
			c, s := connect(t, client, server)
			require.Equal(t, [2]int{1, 1}, asked, "one list serves the handshake and the exchange")
			require.NotNil(t, c.Peer())
			require.NotNil(t, s.Peer())
			require.Equal(t, w.server.Leaf.Raw, c.PeerCertificates()[0].Raw)
		})
	}
}

// The name that a server must prove is the host of the address, if no other is set.
func TestServerNameFromAddress(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(serverAttests)
	client.TLS.ServerName = ""
	at := listen(t, server, fast())
	at.accept()
	_, err := Dial(within(t), at.Addr().String(), client, fast())
	var e *expat.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, [2]any{expat.StageTLS, expat.AlertCertificate}, [2]any{e.Stage, e.Alert}, "%v", err)
	require.ErrorContains(t, err, "127.0.0.1")
}

// A server runs the exchange only where the TLS handshake ran under the hardened
// configuration, and that only runs where it can note what it did.
func TestForeignTLSConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(mutual)
	tlsConf, err := expat.StreamTLS(client, authenticator.Client)
	require.NoError(t, err)
	refused := make(chan error, 1)
	ln := plain(t, w, [32]byte{}, "expat/1+toy", func(qc *quic.Conn) {
		refused <- expat.Server(newStream(qc, nil), server).Handshake()
	})
	qc, err := quic.DialAddr(within(t), ln.Addr().String(), tlsConf, nil)
	require.NoError(t, err)
	requireFailure(t, wait(t, refused), expat.StageConfig, expat.AlertInternal, expat.Local, expat.ErrConfig)
	requireClosed(t, qc, true, expat.AlertInternal)

	hardened, err := expat.StreamTLS(server, authenticator.Server)
	require.NoError(t, err)
	require.True(t, hardened.SessionTicketsDisabled)
	_, err = quic.DialAddr(within(t), bare(t, hardened, nil).Addr().String(), tlsConf, nil)
	var alert *quic.TransportError
	require.ErrorAs(t, err, &alert)
	require.True(t, alert.ErrorCode.IsCryptoError(), "%v", err)
}

// The Conn of package expat under a connection carries no data, and one whose Config
// cannot be used closes the connection.
func TestConnUnderneath(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := connect(t, first(w.configs(mutual)), second(w.configs(mutual)))
	_, err := c.attested.Read(make([]byte, 1))
	require.Error(t, err)
	_, err = c.attested.Write([]byte{1})
	require.Error(t, err)
	require.Error(t, c.attested.CloseWrite())
	_, ok := c.attested.Bare()
	require.False(t, ok)
	require.NoError(t, c.attested.SetDeadline(time.Now().Add(-time.Hour)), "they are those of application data")
	echo(t, c, s)

	at := listen(t, second(w.configs(mutual)), fast())
	str := dialStream(t, at.Addr().String(), first(w.configs(mutual)))
	require.NoError(t, str.HandshakeContext(within(t)))
	require.ErrorIs(t, expat.Client(str, nil).Handshake(), expat.ErrConfig)
	requireClosed(t, str.conn, false, expat.AlertInternal)
	require.ErrorIs(t, expat.Server(newStream(nil, nil), nil).Handshake(), expat.ErrConfig)
}

func TestHTTPContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, s := connect(t, first(w.configs(mutual)), second(w.configs(mutual)))
	found, ok := FromContext(ConnContext(context.Background(), s.QUIC()))
	require.True(t, ok)
	require.Same(t, s, found)
	_, ok = FromContext(ConnContext(context.Background(), c.QUIC()))
	require.False(t, ok, "a client's connection serves nothing")
	_, ok = FromContext(context.Background())
	require.False(t, ok)
}
