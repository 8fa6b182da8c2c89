package expathttp

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// A verdict does not outlive its connection: what a handler that still runs finds
// of a peer that was refused when it was asked anew is nothing, and no guard lets
// it through.
func TestNoVerdictAfterRefusal(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("", "bob", protocol)
		cc.Reattest, sc.ReattestEvery = true, 50*time.Millisecond
		device := new(changing)
		device.become("alice")
		cc.Attester, sc.Verifier = device, &picky{only: "alice"}
		found := make(chan [2]bool, 1)
		_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			device.become("mallory")
			<-r.Context().Done()
			_, ok := FromRequest(r)
			found <- [2]bool{ok, Require(http.NotFoundHandler()).admit(r) == nil}
		}))
		c, _ := client(t, cc, Options{})
		_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
		require.Error(t, err)
		require.Equal(t, [2]bool{false, false}, <-found)
	}
}

// A request that lies in a buffer when the verdict ends is not served.
func TestBufferedRequestAfterExpiry(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "http/1.1")
	sc.Verifier = &toy{lifetime: time.Second}
	served := make(chan string, 2)
	_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served <- r.URL.Path
		w.Header().Set("Content-Length", "2")
		_, _ = w.Write([]byte("ok"))
		_ = http.NewResponseController(w).Flush()
		conn, _ := expat.FromContext(r.Context())
		for conn.Handshake() == nil {
			time.Sleep(time.Millisecond)
		}
	}))
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	conn := expat.ClientTo(nc, "127.0.0.1", cc)
	defer conn.Close()
	_, err = conn.Write([]byte("GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n"))
	require.NoError(t, err)
	require.Equal(t, "/first", <-served)
	time.Sleep(1500 * time.Millisecond)
	require.Empty(t, served)
}

// What of a response lies in a buffer when the verdict on the server ends is not
// delivered, and its end says why.
func TestBufferedResponseAfterExpiry(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		cc.Verifier = &toy{lifetime: time.Second}
		_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("arrived in time, and not read"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		c, tr := client(t, cc, Options{})
		resp, err := c.Get("https://" + addr + "/")
		require.NoError(t, err)
		got, err := io.ReadAll(io.LimitReader(resp.Body, 7))
		require.NoError(t, err)
		require.Equal(t, "arrived", string(got))
		conn := pooled(tr, addr)[0].conn
		require.Eventually(t, func() bool { return failure(conn) != nil }, 10*time.Second, time.Millisecond)
		got, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, expat.ErrExpired)
		require.Empty(t, string(got))
		require.NoError(t, resp.Body.Close())
	}
}

// The same of a request, when the verdict on the client ends.
func TestBufferedRequestBodyAfterExpiry(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		sc.Verifier = &toy{lifetime: time.Second}
		type outcome struct {
			rest []byte
			err  error
		}
		found := make(chan outcome, 1)
		_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadFull(r.Body, make([]byte, 7)); err != nil {
				t.Error(err)
			}
			conn, _ := expat.FromContext(r.Context())
			for failure(conn) == nil {
				time.Sleep(time.Millisecond)
			}
			rest, err := io.ReadAll(r.Body)
			found <- outcome{rest, err}
		}))
		c, _ := client(t, cc, Options{})
		sent, body := io.Pipe()
		go func() { _, _ = body.Write([]byte("arrived in time, and not read")) }()
		failed := make(chan error, 1)
		go func() { failed <- lasting(c, "https://"+addr+"/", sent) }()
		got := <-found
		require.ErrorIs(t, got.err, expat.ErrExpired)
		require.Empty(t, string(got.rest))
		require.NoError(t, body.Close()) // over HTTP/1.1 net/http waits for it
		require.Error(t, <-failed)
	}
}
