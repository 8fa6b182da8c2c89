package expat

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// net/http over an attested connection: HTTP/1.1 both ways, r.TLS filled, and the
// verdict on the client within the handler's reach.
func TestHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(mutual)
	cc.TLS.NextProtos, sc.TLS.NextProtos = []string{"http/1.1"}, []string{"http/1.1"}
	cc.TLS.ServerName = serverName
	ln := listen(t, sc)
	srv := &http.Server{ConnContext: ConnContext, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := FromContext(r.Context())
		switch {
		case !ok || c.Peer() == nil || c.Peer().Tier() != attestation.TierAffirming:
			http.Error(w, "the client's verdict is missing", http.StatusForbidden)
		case r.TLS == nil || r.TLS.NegotiatedProtocol != "http/1.1" || !r.TLS.HandshakeComplete:
			http.Error(w, "r.TLS is not filled", http.StatusInternalServerError)
		default:
			_, _ = io.Copy(w, r.Body)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()

	transport := &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return Dial(ctx, network, ln.Addr().String(), cc)
	}}
	client := &http.Client{Transport: transport}
	for range 3 {
		body, in := io.Pipe()
		go func() { _, _ = in.Write([]byte("a body")); in.Close() }()
		res, err := client.Post("https://"+serverName+"/", "text/plain", body)
		require.NoError(t, err)
		got, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, []any{200, "HTTP/1.1", "a body"}, []any{res.StatusCode, res.Proto, string(got)})
	}

	bad, _ := w.configs(serverAttests) // shows nothing of itself
	refused := &http.Transport{DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		bad.TLS.NextProtos = cc.TLS.NextProtos
		return Dial(ctx, network, ln.Addr().String(), bad)
	}}
	_, err := (&http.Client{Transport: refused}).Get("https://" + serverName + "/")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, [2]any{AlertAttestationRequired, Peer}, [2]any{e.Alert, e.Side})

	transport.CloseIdleConnections()
	require.NoError(t, srv.Shutdown(t.Context()))
	require.True(t, errors.Is(<-done, http.ErrServerClosed))
}
