package expathttp

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// Graceful: the request under way is answered, no other is taken, Shutdown waits.
func TestShutdown(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, configs func() (cc, sc *expat.Config)) {
		entered, leave := make(chan struct{}), make(chan struct{})
		cc, sc := configs()
		s, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			_, _ = io.WriteString(w, "done")
		}))
		c, _ := client(t, cc, Options{})
		answered := make(chan string, 1)
		go func() {
			_, body, err := get(t, context.Background(), c, "https://"+addr+"/")
			if err != nil {
				body = err.Error()
			}
			answered <- body
		}()
		<-entered

		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Shutdown(short), context.DeadlineExceeded, "a request is under way")
		other, _ := client(t, cc, Options{})
		_, _, err := get(t, t.Context(), other, "https://"+addr+"/")
		require.Error(t, err, "nobody listens")
		require.Empty(t, answered)

		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		close(leave)
		require.Equal(t, "done", <-answered)
		require.NoError(t, <-down)
		require.NoError(t, s.Close(), "after Shutdown there is nothing left to close")
		require.ErrorIs(t, s.ListenAndServe("127.0.0.1:0"), http.ErrServerClosed)
	})
}

// Close ends requests under way.
func TestClose(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, configs func() (cc, sc *expat.Config)) {
		entered := make(chan struct{})
		cc, sc := configs()
		s, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		}))
		c, _ := client(t, cc, Options{})
		answered := make(chan error, 1)
		go func() {
			resp, err := c.Post("https://"+addr+"/", "text/plain", nil)
			if err == nil {
				_ = resp.Body.Close()
			}
			answered <- err
		}()
		<-entered
		require.NoError(t, s.Close())
		require.Error(t, <-answered)
		require.NoError(t, s.Shutdown(t.Context()))
	})
}

// The protocol is the one that was negotiated, in every form.
func TestProtocolIsTheNegotiatedOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocol string
		framed   bool
		send     string
		want     string
	}{
		{"h2", true, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 505 "},
		{"h2", false, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", ""},
		{"http/1.1", false, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "HTTP/1.1 505 "},
	} {
		cc, sc := configs("alice", "bob", c.protocol)
		framing(cc, sc, c.framed)
		_, addr := serve(t, sc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler ran") }))
		conn, err := expat.Dial(t.Context(), "tcp", addr, cc)
		require.NoError(t, err)
		_, err = io.WriteString(conn, c.send)
		require.NoError(t, err)
		got, _ := io.ReadAll(conn)
		require.NoError(t, conn.Close())
		require.NotContains(t, string(got), " 200 ")
		require.True(t, strings.HasPrefix(string(got), c.want), "%q", got)
	}
}

// What the user set on the http.Server keeps its meaning.
func TestUsersSettings(t *testing.T) {
	t.Parallel()
	type key string
	for _, framed := range []bool{false, true} {
		var states atomic.Int32
		cc, sc := configs("alice", "bob")
		framing(cc, sc, framed)
		user := &http.Server{
			BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), key("base"), "b") },
			ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
				_, ok := expat.FromContext(ctx)
				return context.WithValue(ctx, key("conn"), ok && nc != nil)
			},
			ConnState: func(nc net.Conn, _ http.ConnState) {
				if _, bare := nc.(*tls.Conn); bare == framed {
					t.Errorf("HTTP/2 runs on a %T", nc)
				}
				states.Add(1)
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				srv, ok := ctx.Value(http.ServerContextKey).(*http.Server)
				if ctx.Value(key("base")) != "b" || ctx.Value(key("conn")) != true || !ok || srv.ErrorLog != quiet || ctx.Value(http.LocalAddrContextKey) == nil {
					http.Error(w, "context", http.StatusInternalServerError)
				}
			}),
			ErrorLog: quiet,
		}
		s, err := NewServer(user, sc)
		require.NoError(t, err)
		addr := start(t, s, s.Serve)
		c, _ := client(t, cc, Options{})
		resp, _, err := get(t, t.Context(), c, "https://"+addr+"/")
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Positive(t, states.Load())
	}
}

func TestNewServerRefuses(t *testing.T) {
	t.Parallel()
	_, sc := configs("alice", "bob")
	other := sc.Clone()
	other.TLS.NextProtos = []string{"h2", "h3"}
	for name, c := range map[string]struct {
		srv *http.Server
		cfg *expat.Config
	}{
		"no server":      {nil, sc},
		"no Config":      {&http.Server{}, nil},
		"no TLS":         {&http.Server{}, &expat.Config{}},
		"TLSConfig":      {&http.Server{TLSConfig: &tls.Config{}}, sc},
		"Protocols":      {&http.Server{Protocols: new(http.Protocols)}, sc},
		"TLSNextProto":   {&http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}, sc},
		"other protocol": {&http.Server{}, other},
	} {
		s, err := NewServer(c.srv, c.cfg)
		require.ErrorIs(t, err, ErrConfig, name)
		require.Nil(t, s, name)
	}
	require.Empty(t, sc.TLS.NextProtos, "the Config is not modified")

	s, err := NewServer(&http.Server{}, &expat.Config{TLS: &tls.Config{}})
	require.NoError(t, err)
	require.ErrorIs(t, s.ListenAndServe("127.0.0.1:0"), expat.ErrConfig)
	require.Error(t, s.ListenAndServe("256.0.0.1:0"))
	s, err = NewServer(&http.Server{}, sc)
	require.NoError(t, err)
	require.Equal(t, ":https", defaultListen)
	require.NoError(t, s.Close())
	require.Error(t, s.ListenAndServe(""))
}

// A server without handler serves http.DefaultServeMux, as net/http does.
func TestDefaultMux(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	_, addr := serve(t, sc, nil)
	c, _ := client(t, cc, Options{})
	resp, _, err := get(t, t.Context(), c, "https://"+addr+"/there-is-no-such-page")
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// The http.Server belongs to the Server: whoever has it serve a plain port shows
// nobody what is behind the Handler.
func TestNotServedElsewhere(t *testing.T) {
	t.Parallel()
	_, sc := configs("alice", "bob")
	user := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler ran") }), ErrorLog: quiet}
	s, err := NewServer(user, sc)
	require.NoError(t, err)
	addr := start(t, s, user.Serve)
	for _, protocols := range []func(*http.Protocols){
		func(p *http.Protocols) { p.SetHTTP1(true) },
		func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		protocols(tr.Protocols)
		_, _, err = get(t, t.Context(), &http.Client{Transport: tr}, "http://"+addr+"/")
		require.Error(t, err)
		tr.CloseIdleConnections()
	}
}

// A process in which HTTP/2 of net/http is switched off is told at once, and not
// when the first client comes.
func TestHTTP2IsOff(t *testing.T) {
	t.Setenv("GODEBUG", "http2server=0")
	_, sc := configs("alice", "bob")
	s, err := NewServer(&http.Server{}, sc)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	defer s.Close()
	select {
	case err := <-served:
		require.ErrorIs(t, err, ErrConfig)
	case <-time.After(5 * time.Second):
		t.Fatal("it serves")
	}
	cc, sc := configs("alice", "bob", "http/1.1")
	_, addr := serve(t, sc, describe)
	c, _ := client(t, cc, Options{})
	_, _, err = get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
}
