package expathttp

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// The frames of HTTP/2 that scripts know (RFC 9113, Section 6).
const (
	frameHeaders  = 0x1
	frameSettings = 0x4
	frameGoAway   = 0x7
	flagAck       = 0x1
)

// script serves HTTP/2 on attested connections: it sends SETTINGS, and calls answer for
// the HEADERS of each request, and for stream 0 once the client has taken the SETTINGS.
func script(t *testing.T, cfg *expat.Config, settings []byte, answer func(conn net.Conn, stream uint32)) (addr string, dialled func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	attested := expat.NewListener(ln, withH2(cfg))
	var wg sync.WaitGroup
	wg.Go(func() {
		for conn, err := attested.Accept(); err == nil; conn, err = attested.Accept() {
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { play(conn, settings, answer) })
		}
	})
	t.Cleanup(func() {
		_ = attested.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String(), func() int { mu.Lock(); defer mu.Unlock(); return len(conns) }
}

func play(conn net.Conn, settings []byte, answer func(net.Conn, uint32)) {
	defer conn.Close()
	sendFrame(conn, frameSettings, 0, 0, settings)
	if _, err := io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	for {
		var header [9]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return
		}
		n := int64(header[0])<<16 | int64(header[1])<<8 | int64(header[2])
		if _, err := io.CopyN(io.Discard, conn, n); err != nil {
			return
		}
		if header[3] == frameHeaders || header[3] == frameSettings && header[4] == flagAck {
			answer(conn, binary.BigEndian.Uint32(header[5:]))
		}
	}
}

func sendFrame(conn net.Conn, kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	b := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...)
	_, _ = conn.Write(append(b, payload...))
}

// ok answers a request with 200 and no body: END_STREAM, END_HEADERS, and the index of
// ":status: 200" in HPACK's static table.
func ok(conn net.Conn, stream uint32) { sendFrame(conn, frameHeaders, 0x5, stream, []byte{0x88}) }

// A server that is shut down says which requests it has not looked at. They are sent
// again on another connection whatever their method, and those that it works on are
// left to it.
func TestGoAway(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "h2")
	leave := make(chan struct{})
	pending := make(chan struct{})
	var once sync.Once
	addr, dialled := script(t, sc, nil, func(conn net.Conn, stream uint32) {
		switch {
		case stream == 3:
			close(pending)
			go func() { <-leave; ok(conn, stream) }()
		case stream == 5: // of the first connection: the second has one request
			once.Do(func() {
				sendFrame(conn, frameGoAway, 0, 0, []byte{0, 0, 0, 3, 0, 0, 0, 0})
			})
		case stream != 0:
			ok(conn, stream)
		}
	})
	c, _ := client(t, cc, Options{})
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
	first := make(chan error, 1)
	go func() { _, _, err := get(t, t.Context(), c, "https://"+addr+"/pending"); first <- err }()
	<-pending
	resp, err := c.Post("https://"+addr+"/", "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 2, dialled())
	require.Empty(t, first)
	close(leave)
	require.NoError(t, <-first)
}

// A request whose connection is not taken any more before it is sent is sent on
// another one.
func TestGoAwayBeforeRequest(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "h2")
	addr, _ := script(t, sc, nil, func(conn net.Conn, stream uint32) {
		if stream == 3 {
			sendFrame(conn, frameGoAway, 0, 0, []byte{0, 0, 0, 3, 0, 0, 0, 0})
		}
		if stream != 0 {
			ok(conn, stream)
		}
	})
	c, tr := client(t, cc, Options{})
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
	conn := pooled(tr, addr)[0]
	require.NoError(t, conn.reserve())
	_, _, err = get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/", nil)
	require.NoError(t, err)
	_, sent, err := conn.roundTrip(req) //nolint:bodyclose // it fails
	require.Error(t, err)
	require.False(t, sent)
	require.True(t, notProcessed(err), "%v", err)
}

// A server that takes no requests is not dialled over and over.
func TestServerTakesNone(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "h2")
	none := []byte{0, 3, 0, 0, 0, 0} // SETTINGS_MAX_CONCURRENT_STREAMS
	known := make(chan struct{}, 100)
	addr, dialled := script(t, sc, none, func(_ net.Conn, stream uint32) {
		if stream != 0 {
			t.Error("a request was sent")
		}
		known <- struct{}{}
	})
	var tr *Transport
	c, made := client(t, cc, Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		tr.pool.mu.Lock() // the pool learns of the connection once its SETTINGS are known
		go func() { <-known; tr.pool.mu.Unlock() }()
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	tr = made
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.ErrorIs(t, err, ErrPeers)
	require.Equal(t, MaxUnfit, dialled())
}
