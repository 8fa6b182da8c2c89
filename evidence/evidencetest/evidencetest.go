// Package evidencetest runs attestation between two sides that share a made-up
// exporter instead of a TLS connection, for tests and examples of platforms and
// verifiers. It must not be used by other code.
package evidencetest

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
)

// secret stands for the exporter secret of one connection.
type secret struct {
	hash crypto.Hash
	key  [32]byte
}

// ExportKeyingMaterial expands the secret by label and context, as HKDF-Expand
// does, and is no TLS exporter otherwise.
func (s *secret) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	var out []byte
	for i := uint32(0); len(out) < length; i++ {
		mac := hmac.New(s.hash.New, s.key[:])
		mac.Write(binary.BigEndian.AppendUint32(nil, i))
		mac.Write(append([]byte(label), 0))
		mac.Write(context)
		out = mac.Sum(out)
	}
	return out[:length], nil
}

// Connection is two sides of one connection: the attester is its server.
type Connection struct {
	RelyingParty, Attester *authenticator.Session
}

// Connect makes a connection whose cipher suite has the given hash, SHA-256 or
// SHA-384.
func Connect(h crypto.Hash) (*Connection, error) {
	s := &secret{hash: h}
	rand.Read(s.key[:]) // never fails
	client, err := authenticator.NewSessionFromExporter(s, h, authenticator.Client)
	if err != nil {
		return nil, err
	}
	server, err := authenticator.NewSessionFromExporter(s, h, authenticator.Server)
	return &Connection{RelyingParty: client, Attester: server}, err
}

// Identity makes a certificate for a TLS key, from a CA of its own.
func Identity(key crypto.Signer) (*authenticator.Identity, error) {
	ca, err := testca.New("evidencetest", time.Now())
	if err != nil {
		return nil, err
	}
	cert, err := ca.Leaf(key, time.Now(), "attester.test")
	if err != nil {
		return nil, err
	}
	return authenticator.NewIdentity(cert)
}

// Exchange asks for attestation on c, has a attest id and v appraise it. The
// error is that of [attestation.Attest] or [attestation.Appraise].
func (c *Connection) Exchange(ctx context.Context, id *authenticator.Identity, a attestation.Attester, v attestation.Verifier) (*attestation.Result, error) {
	profile := attestation.Expat04()
	request, err := c.RelyingParty.NewRequest(authenticator.RequestOptions{
		Extensions: []authenticator.Extension{profile.Offer()},
	})
	if err != nil {
		return nil, err
	}
	received, err := c.Attester.ReceiveRequest(request.Bytes())
	if err != nil {
		return nil, err
	}
	extension, err := attestation.Attest(ctx, profile, received, id, a, v.MediaTypes())
	if err != nil {
		return nil, err
	}
	message, err := c.Attester.Authenticate(ctx, received, id, extension)
	if err != nil {
		return nil, err
	}
	peer, err := c.RelyingParty.Validate(request, message, authenticator.ValidateOptions{
		VerifyChain: authenticator.AcceptAnyChain,
	})
	if err != nil {
		return nil, err
	}
	return attestation.Appraise(ctx, profile, peer, v)
}

// Attest returns the message that a makes for id on a new connection, and the
// Binding it was made for.
func Attest(ctx context.Context, h crypto.Hash, id *authenticator.Identity, a attestation.Attester) (attestation.Binding, *cmw.Message, error) {
	c, err := Connect(h)
	if err != nil {
		return attestation.Binding{}, nil, err
	}
	r := &recorder{Attester: a}
	_, err = c.Exchange(ctx, id, r, refuser(a.MediaTypes()))
	if r.err != nil || r.message == nil {
		return r.binding, nil, err
	}
	return r.binding, r.message, nil
}

// recorder keeps what passes through an Attester.
type recorder struct {
	attestation.Attester
	binding attestation.Binding
	message *cmw.Message
	err     error
}

func (r *recorder) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	r.binding = b
	r.message, r.err = r.Attester.Attest(ctx, b, accept)
	return r.message, r.err
}

// refuser is a Verifier that takes some media types and reaches no verdict.
type refuser []string

func (r refuser) MediaTypes() []string { return r }

func (refuser) Appraise(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
	return nil, attestation.ErrUnavailable
}
