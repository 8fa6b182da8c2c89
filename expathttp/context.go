package expathttp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// valid returns the verdict on a connection's peer while it holds, else nil.
func valid(conn *expat.Conn) *attestation.Result {
	if failure(conn) != nil {
		return nil
	}
	return conn.Peer()
}

// failure is why a connection is good no more: a verdict has run out, or somebody
// was refused when he was asked anew. A verdict that runs out closes the connection;
// until that has happened the clock counts.
func failure(conn *expat.Conn) error {
	err := conn.Handshake() // done long ago: is it still good?
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	if end := conn.Expires(); !end.IsZero() && !time.Now().Before(end) {
		return expat.ErrExpired // or the peer, whose clock is ahead, closed it
	}
	return err
}

// FromContext returns the verdict on the client of the connection on which a
// request arrived. There is none, and ok is false, for a request that came another
// way, and where the server has no Verifier. [expat.FromContext] returns the
// connection itself.
func FromContext(ctx context.Context) (r *attestation.Result, ok bool) {
	conn, ok := expat.FromContext(ctx)
	if !ok {
		return nil, false
	}
	r = valid(conn)
	return r, r != nil
}

// FromRequest is [FromContext] of a request that a server received.
func FromRequest(r *http.Request) (*attestation.Result, bool) { return FromContext(r.Context()) }

// attestedConn finds the Conn behind what [http.Server] holds.
func attestedConn(nc net.Conn) (*expat.Conn, bool) {
	switch c := nc.(type) {
	case *expat.Conn:
		return c, true
	case *tls.Conn:
		return expat.FromTLS(c)
	case *framedConn:
		return c.attested, true
	}
	return nil, false
}

type stateKey struct{}

// attach puts the attested connection, and what its requests show as TLS, into the
// context of its requests.
func attach(ctx context.Context, nc net.Conn) context.Context {
	conn, ok := attestedConn(nc)
	if !ok {
		return ctx
	}
	state := conn.ConnectionState()
	return context.WithValue(expat.ConnContext(ctx, conn), stateKey{}, &state)
}

// withState gives requests the TLS state in which NegotiatedProtocol is h2, as
// handlers expect, and not the name under which it was negotiated. A request in the
// other protocol than the one negotiated is refused. One that came over no attested
// connection, as when the [http.Server] itself serves a port, is dropped, and so is what
// was left in a buffer when a verdict ended.
func withState(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, ok := expat.FromContext(r.Context())
		state, ok2 := r.Context().Value(stateKey{}).(*tls.ConnectionState)
		if !ok || !ok2 || failure(conn) != nil {
			panic(http.ErrAbortHandler)
		}
		if (r.ProtoMajor == 2) != (state.NegotiatedProtocol == protoHTTP2) {
			http.Error(w, "not the protocol that was negotiated", http.StatusHTTPVersionNotSupported)
			return
		}
		shown := *r // net/http looks at its own again
		shown.TLS = state
		if r.Body != http.NoBody {
			shown.Body = &body{r.Body, conn}
		}
		defer func() { r.MultipartForm = shown.MultipartForm }() // whose files it removes
		next.ServeHTTP(w, &shown)
	})
}
