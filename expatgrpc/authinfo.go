package expatgrpc

import (
	"context"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// AuthInfo is what gRPC knows of an attested connection: the AuthInfo of a
// [peer.Peer] on both sides. The zero value knows nothing. A call cannot override
// the authority (grpc.CallAuthority): a connection is to one name.
type AuthInfo struct {
	credentials.CommonAuthInfo
	conn *expat.Conn
}

func newAuthInfo(conn *expat.Conn) AuthInfo {
	return AuthInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, conn}
}

// AuthType implements [credentials.AuthInfo].
func (AuthInfo) AuthType() string { return "expat" }

// Conn is the connection: its certificates, when the verdict ends, and Reattest to
// ask the peer anew. Its bytes are gRPC's. It is nil in the zero AuthInfo.
func (a AuthInfo) Conn() *expat.Conn { return a.conn }

// Peer is the latest verdict on the peer. There is none, and ok is false, where
// this side has no Verifier, when the verdict has run out, and on a connection that
// failed because the peer was refused when it was asked anew.
func (a AuthInfo) Peer() (r *attestation.Result, ok bool) {
	if a.conn == nil || a.conn.Handshake() != nil { // done long ago: is it still good?
		return nil, false
	}
	if end := a.conn.Expires(); !end.IsZero() && !time.Now().Before(end) {
		return nil, false
	}
	r = a.conn.Peer()
	return r, r != nil
}

// PeerFrom is the latest verdict on a peer; see [AuthInfo.Peer]. A client gets p
// from the call option grpc.Peer. There is no verdict on a peer whose connection
// is not attested.
func PeerFrom(p *peer.Peer) (*attestation.Result, bool) {
	if p == nil {
		return nil, false
	}
	info, _ := p.AuthInfo.(AuthInfo)
	return info.Peer()
}

// FromContext is the latest verdict on the client whose call a handler serves, or
// on the server of a client's stream; see [AuthInfo.Peer].
func FromContext(ctx context.Context) (*attestation.Result, bool) {
	p, _ := peer.FromContext(ctx)
	return PeerFrom(p)
}
