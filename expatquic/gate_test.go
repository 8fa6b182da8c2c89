package expatquic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
)

// eager is a client whose QUIC connection the test uses before the exchange is done.
func eager(t *testing.T, at *site, cfg *expat.Config) (*quic.Conn, <-chan error) {
	t.Helper()
	tlsConf, err := expat.StreamTLS(cfg, authenticator.Client)
	require.NoError(t, err)
	qc, err := quic.DialAddr(within(t), at.Addr().String(), tlsConf, fast())
	require.NoError(t, err)
	t.Cleanup(func() { _ = qc.CloseWithError(0, "") })
	s := newStream(nil, func(context.Context) (*quic.Conn, error) { return qc, nil })
	done := make(chan error, 1)
	go func() { done <- expat.Client(s, cfg).HandshakeContext(context.Background()) }()
	return qc, done
}

// early is a side whose QUIC connection the test uses while the other, which is
// expatquic's, waits for its Verifier.
type early struct {
	conn    *quic.Conn
	release func()           // lets the Verifier decide
	done    func() error     // how its exchange ends
	handed  func(bool) *Conn // what the other hands out, if that is to be something
	failed  func() error     // how the other fails
}

// holdUp makes the Verifier of one side wait.
func holdUp(t *testing.T, waits authenticator.Role, conf *quic.Config, verdict error) *early {
	t.Helper()
	v := &toy{entered: make(chan struct{}), release: make(chan struct{}), appraise: func() error { return verdict }}
	e := &early{release: func() { close(v.release) }}
	if waits == authenticator.Server {
		client, server := newWorld(t).configs(clientAttests)
		server.Verifier = v
		at := listen(t, server, conf)
		accepted := at.accept()
		qc, done := eager(t, at, client)
		e.conn, e.done = qc, func() error { return wait(t, done) }
		e.failed = func() error { return wait(t, at.refused) }
		e.handed = func(is bool) *Conn {
			if !is {
				require.Empty(t, accepted)
				return nil
			}
			return wait(t, accepted)
		}
	} else {
		client, server := newWorld(t).configs(serverAttests)
		client.Verifier = v
		at := listen(t, server, fast())
		conns, done := make(chan *quic.Conn, 1), make(chan error, 1)
		go func() {
			nc, err := at.sockets.Accept()
			if err != nil {
				return
			}
			conns <- nc.(*stream).conn
			done <- expat.Server(nc, server).Handshake()
		}()
		dialed, failed := make(chan *Conn, 1), make(chan error, 1)
		go func() {
			c, err := Dial(context.Background(), at.Addr().String(), client, conf)
			if err != nil {
				failed <- err
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			dialed <- c
		}()
		e.conn, e.done = wait(t, conns), func() error { return wait(t, done) }
		e.failed = func() error { return wait(t, failed) }
		e.handed = func(is bool) *Conn {
			if !is {
				require.Empty(t, dialed)
				return nil
			}
			return wait(t, dialed)
		}
	}
	wait(t, v.entered)
	return e
}

// What arrives before the exchange is done is held, and handed out only if it ends
// well. A peer that is open may send before the other side is: QUIC keeps no order
// among streams. So no stream of the application, none of HTTP/3's control and QPACK
// streams, and no datagram is read or written before, on either side.
func TestEarlyStreamsAndDatagrams(t *testing.T) {
	t.Parallel()
	for _, waits := range []authenticator.Role{authenticator.Server, authenticator.Client} {
		for name, refuse := range map[string]error{"accepted": nil, "refused": errors.New("no")} {
			t.Run(fmt.Sprintf("%v/%s", waits, name), func(t *testing.T) {
				t.Parallel()
				e := holdUp(t, waits, fast(), refuse)
				out, err := e.conn.OpenStreamSync(within(t))
				require.NoError(t, err)
				_, err = out.Write([]byte("early"))
				require.NoError(t, err)
				one, err := e.conn.OpenUniStream()
				require.NoError(t, err)
				_, err = one.Write([]byte("early"))
				require.NoError(t, err)
				require.NoError(t, e.conn.SendDatagram([]byte("early")))
				time.Sleep(200 * time.Millisecond) // it is there
				e.handed(false)
				e.release()
				if refuse != nil {
					requireFailure(t, e.failed(), expat.StageAppraise, expat.AlertAttestationRejected, expat.Local, refuse)
					requireFailure(t, e.done(), expat.StageResult, expat.AlertAttestationRejected, expat.Peer, expat.ErrPeerAlert)
					e.handed(false)
					_, err = out.Read(make([]byte, 1))
					require.Error(t, err)
					return
				}
				require.NoError(t, e.done())
				conn := e.handed(true)
				in, err := conn.AcceptStream(within(t))
				require.NoError(t, err)
				require.Equal(t, out.StreamID(), in.StreamID(), "the exchange's stream is not the application's")
				b := make([]byte, 5)
				_, err = io.ReadFull(in, b)
				require.NoError(t, err)
				require.Equal(t, "early", string(b))
				_, err = conn.AcceptUniStream(within(t))
				require.NoError(t, err)
				b, err = conn.ReceiveDatagram(within(t))
				require.NoError(t, err)
				require.Equal(t, "early", string(b))
			})
		}
	}
}

// What a peer sends early is bounded by the flow control window.
func TestEarlyDataIsBounded(t *testing.T) {
	t.Parallel()
	for _, waits := range []authenticator.Role{authenticator.Server, authenticator.Client} {
		t.Run(waits.String(), func(t *testing.T) {
			t.Parallel()
			conf := fast()
			conf.InitialConnectionReceiveWindow = 64 << 10
			e := holdUp(t, waits, conf, nil)
			out, err := e.conn.OpenStreamSync(within(t))
			require.NoError(t, err)
			require.NoError(t, out.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
			n, err := out.Write(make([]byte, 1<<20))
			require.Error(t, err)
			require.LessOrEqual(t, n, 64<<10+4<<10)
			e.release()
			require.NoError(t, e.done())
			require.NotNil(t, e.handed(true))
		})
	}
}

// A peer that resets a stream has its window back, while quic-go keeps the data until
// somebody accepts the stream. What it may send in all is bounded too.
func TestEarlyFlood(t *testing.T) {
	t.Parallel()
	for _, waits := range []authenticator.Role{authenticator.Server, authenticator.Client} {
		t.Run(waits.String(), func(t *testing.T) {
			t.Parallel()
			e := holdUp(t, waits, fast(), nil)
			for {
				out, err := e.conn.OpenUniStreamSync(within(t))
				if err != nil {
					break
				}
				require.NoError(t, out.SetWriteDeadline(time.Now().Add(5*time.Second)))
				_, err = out.Write(make([]byte, 512<<10))
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
				time.Sleep(5 * time.Millisecond) // the reset drops what has not left
				out.CancelWrite(1)
			}
			requireClosed(t, e.conn, true, expat.AlertLimit)
			e.release()
			requireFailure(t, e.failed(), expat.StageResult, expat.AlertLimit, expat.Local, authenticator.ErrLimit)
			require.Error(t, e.done())
			e.handed(false)
		})
	}
}

// bare is a listener of quic-go. With it end its connections, also those that linger.
func bare(t *testing.T, tlsConf *tls.Config, conf *quic.Config) *quic.Listener {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() { require.NoError(t, errors.Join(tr.Close(), pc.Close())) })
	ln, err := tr.Listen(tlsConf, conf)
	require.NoError(t, err)
	return ln
}

// plain is a QUIC server without attestation, whose tickets allow early data.
func plain(t *testing.T, w *world, keys [32]byte, protocol string, serve func(*quic.Conn)) *quic.Listener {
	t.Helper()
	tlsConf := &tls.Config{Certificates: []tls.Certificate{w.server}, NextProtos: []string{protocol}}
	tlsConf.SetSessionTicketKeys([][32]byte{keys})
	ln := bare(t, tlsConf, &quic.Config{Allow0RTT: true})
	go func() {
		for {
			qc, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			serve(qc)
		}
	}()
	return ln
}

// tickets is a session cache that tells when it has something.
type tickets struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (c *tickets) Put(key string, s *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, s)
	select {
	case c.put <- struct{}{}:
	default:
	}
}

// E-2, A-6: a client with a good ticket offers early data. The server takes a full
// handshake, hands nothing out, and gives no ticket, whatever its TLS configuration or
// one that a callback chose says.
func TestServerRefuses0RTT(t *testing.T) {
	t.Parallel()
	for name, choose := range map[string]bool{"Config": false, "GetConfigForClient": true} {
		t.Run(name, func(t *testing.T) { t.Parallel(); serverRefuses0RTT(t, choose) })
	}
}

func serverRefuses0RTT(t *testing.T, choose bool) {
	w := newWorld(t)
	_, server := w.configs(serverAttests)
	keys := [32]byte{1}
	server.TLS.SetSessionTicketKeys([][32]byte{keys})
	if choose {
		chosen := server.TLS.Clone()
		chosen.NextProtos, chosen.MinVersion = []string{"toy", "h3"}, tls.VersionTLS12
		chosen.UnwrapSession = chosen.DecryptTicket
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return chosen, nil }
	}
	server.Timeout = time.Second
	at := listen(t, server, fast())
	accepted := at.accept()
	other := plain(t, w, keys, "expat/1+toy", func(qc *quic.Conn) {
		t.Cleanup(func() { _ = qc.CloseWithError(0, "") })
	})
	cache := &tickets{tls.NewLRUClientSessionCache(1), make(chan struct{}, 1)}
	conf := &tls.Config{RootCAs: w.ca.Pool(), ServerName: "server.test", NextProtos: []string{"expat/1+toy"}, ClientSessionCache: cache}
	first, err := quic.DialAddr(within(t), other.Addr().String(), conf, nil)
	require.NoError(t, err)
	wait(t, cache.put)
	require.NoError(t, first.CloseWithError(0, ""))

	control, err := quic.DialAddrEarly(within(t), other.Addr().String(), conf, nil)
	require.NoError(t, err)
	wait(t, control.HandshakeComplete())
	require.True(t, control.ConnectionState().Used0RTT, "the ticket is good where early data is allowed")
	wait(t, cache.put)
	require.NoError(t, control.CloseWithError(0, ""))

	// quic-go has a race where a stream is opened while the server's parameters arrive.
	written := make(chan struct{})
	early, err := quic.DialAddrEarly(within(t), newRelay(t, at.Addr(), written).front.LocalAddr().String(), conf, nil)
	require.NoError(t, err)
	defer func() { _ = early.CloseWithError(0, "") }()
	str, err := early.OpenStream()
	require.NoError(t, err)
	_, err = str.Write([]byte("early data"))
	require.NoError(t, err)
	close(written)
	wait(t, early.HandshakeComplete())
	state := early.ConnectionState()
	require.False(t, state.Used0RTT)
	require.False(t, state.TLS.DidResume)
	requireFailure(t, wait(t, at.refused), expat.StageHello, expat.AlertTimeout, expat.Local, context.DeadlineExceeded)
	require.Empty(t, accepted)
	require.Empty(t, cache.put, "the server sent a ticket")
}

// E-2, E-3: a client keeps no ticket, whatever its TLS configuration says, and so
// neither resumes nor sends early data.
func TestClientOffersNoResumption(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	states := make(chan quic.ConnectionState, 2)
	ln := plain(t, w, [32]byte{1}, "expat/1+toy", func(qc *quic.Conn) {
		<-qc.HandshakeComplete()
		states <- qc.ConnectionState()
		time.Sleep(100 * time.Millisecond) // for a ticket to arrive
		_ = qc.CloseWithError(ErrorCode(expat.AlertRefused), "")
	})
	client, _ := w.configs(serverAttests)
	client.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		_, err := Dial(within(t), ln.Addr().String(), client, fast())
		requireFailure(t, err, expat.StageHello, expat.AlertRefused, expat.Peer, expat.ErrPeerAlert)
		state := wait(t, states)
		require.False(t, state.Used0RTT)
		require.False(t, state.TLS.DidResume)
	}
}

// The name expat/1 cannot be negotiated away, by either side.
func TestNegotiation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(mutual)
	ln := plain(t, w, [32]byte{1}, "toy", func(*quic.Conn) {})
	_, err := Dial(within(t), ln.Addr().String(), client, fast())
	requireFailure(t, err, expat.StageTLS, expat.AlertProtocol, expat.Local, expat.ErrNegotiation)

	at := listen(t, server, fast())
	accepted := at.accept()
	_, err = quic.DialAddr(within(t), at.Addr().String(), &tls.Config{RootCAs: w.ca.Pool(), ServerName: "server.test", NextProtos: []string{"toy"}}, nil)
	var alert *quic.TransportError
	require.ErrorAs(t, err, &alert)
	require.Equal(t, codeNoApplicationProtocol, alert.ErrorCode)
	require.Empty(t, accepted)

	// Nor do the two sides agree without a version of QUIC in common.
	at = listen(t, second(w.configs(mutual)), &quic.Config{Versions: []quic.Version{quic.Version1}})
	accepted = at.accept()
	_, err = Dial(within(t), at.Addr().String(), client, &quic.Config{Versions: []quic.Version{quic.Version2}})
	requireFailure(t, err, expat.StageTLS, expat.AlertProtocol, expat.Local, expat.ErrNegotiation)
	require.Empty(t, accepted)
}

// X.509 validation is as strict as with TCP: of the handshake's certificate, and of
// the authenticator's.
func TestCertificates(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), newWorld(t)
	t.Run("handshake", func(t *testing.T) {
		t.Parallel()
		_, server := w.configs(serverAttests)
		client, _ := stranger.configs(serverAttests)
		at := listen(t, server, fast())
		at.accept()
		_, err := Dial(within(t), at.Addr().String(), client, fast())
		var e *expat.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, [2]any{expat.StageTLS, expat.AlertCertificate}, [2]any{e.Stage, e.Alert}, "%v", err)
	})
	t.Run("server's authenticator", func(t *testing.T) {
		t.Parallel()
		client, server := w.configs(serverAttests)
		server.Identities = []tls.Certificate{stranger.server}
		at := listen(t, server, fast())
		at.accept()
		_, err := Dial(within(t), at.Addr().String(), client, fast())
		requireFailure(t, err, expat.StageValidate, expat.AlertCertificate, expat.Local, authenticator.ErrCertificate)
		requireFailure(t, wait(t, at.refused), expat.StageResult, expat.AlertCertificate, expat.Peer, expat.ErrPeerAlert)
	})
	t.Run("client's authenticator", func(t *testing.T) {
		t.Parallel()
		client, server := w.configs(clientAttests)
		client.Identities = []tls.Certificate{stranger.client}
		at := listen(t, server, fast())
		at.accept()
		_, err := Dial(within(t), at.Addr().String(), client, fast())
		requireFailure(t, err, expat.StageResult, expat.AlertCertificate, expat.Peer, expat.ErrPeerAlert)
		requireFailure(t, wait(t, at.refused), expat.StageValidate, expat.AlertCertificate, expat.Local, authenticator.ErrCertificate)
	})
}

// Refused appraisals show on both sides, and the connection is closed.
func TestRefusedAppraisals(t *testing.T) {
	t.Parallel()
	no := errors.New("old firmware")
	for _, direction := range []string{serverAttests, clientAttests} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			client, server := newWorld(t).configs(mutual)
			bad := &toy{appraise: func() error { return no }}
			if direction == serverAttests {
				client.Verifier = bad
			} else {
				server.Verifier = bad
			}
			at := listen(t, server, fast())
			accepted := at.accept()
			c, err := Dial(within(t), at.Addr().String(), client, fast())
			require.Nil(t, c)
			own, told := err, wait(t, at.refused)
			if direction == clientAttests {
				own, told = told, own
			}
			requireFailure(t, own, expat.StageAppraise, expat.AlertAttestationRejected, expat.Local, attestation.ErrRejected)
			require.ErrorIs(t, own, no)
			requireFailure(t, told, expat.StageResult, expat.AlertAttestationRejected, expat.Peer, expat.ErrPeerAlert)
			require.Empty(t, accepted)
		})
	}
}
