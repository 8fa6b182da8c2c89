package expatquic

import (
	"context"
	"crypto/tls"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"
)

// Close ends a QUIC handshake that our own code holds up.
func TestCloseEndsHandshakes(t *testing.T) {
	t.Parallel()
	client, server := newWorld(t).configs(mutual)
	called := make(chan struct{}, 1)
	server.TLS.Certificates = nil
	server.GetIdentities = func(ctx context.Context) ([]tls.Certificate, error) {
		called <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	server.Timeout = time.Hour
	ln, err := Listen("127.0.0.1:0", server, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	dialed := make(chan error, 1)
	go func() { _, err := Dial(ctx, ln.Addr().String(), client, nil); dialed <- err }()
	wait(t, called)
	closed := make(chan error, 1)
	go func() { closed <- ln.Close() }()
	require.NoError(t, wait(t, closed))
	cancel()
	require.Error(t, wait(t, dialed))
}

// A listener has clients prove their address when many handshakes are under way, and
// begins no more than it may hold connections. Those that are over count no more.
func TestHandshakesAreBounded(t *testing.T) {
	t.Parallel()
	const places = pendingPerExchange // for MaxExchanges of 1
	client, server := newWorld(t).configs(mutual)
	server.MaxExchanges = 1
	client.Timeout, server.Timeout = time.Minute, time.Minute
	patient := &quic.Config{HandshakeIdleTimeout: time.Minute}
	entered, release := make(chan struct{}, places), make(chan struct{})
	server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- struct{}{}
		<-release
		return nil, nil
	}
	var mu sync.Mutex
	var verified []bool
	conf := patient.Clone()
	conf.GetConfigForClient = func(info *quic.ClientInfo) (*quic.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		verified = append(verified, info.AddrVerified)
		return patient, nil
	}
	at := listen(t, server, conf)
	go func() {
		for {
			if _, err := at.Accept(); err != nil {
				return
			}
		}
	}()
	dial := func() error {
		c, err := Dial(context.Background(), at.Addr().String(), client, patient)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	dialed := make(chan error, places)
	for range places {
		go func() { dialed <- dial() }()
		wait(t, entered)
	}
	var refused *quic.TransportError
	require.ErrorAs(t, dial(), &refused)
	require.Equal(t, quic.ConnectionRefused, refused.ErrorCode)
	mu.Lock()
	require.False(t, verified[0])
	for _, v := range verified[1:] {
		require.True(t, v)
	}
	mu.Unlock()

	close(release)
	for range places {
		require.NoError(t, wait(t, dialed))
	}
	require.NoError(t, dial())
	require.Zero(t, at.sockets.handshakes.Load())
}
