package vectors

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/authenticator"
)

type clientHello struct {
	SignatureSchemes []uint16 `json:"signature_schemes"`
	Extensions       []uint16 `json:"extensions"`
}

type authenticatorInput struct {
	Connection    Connection   `json:"connection"`
	Sender        string       `json:"sender"`
	Request       *Bytes       `json:"request"`
	ClientHello   *clientHello `json:"client_hello"`
	UsedContexts  []Bytes      `json:"used_contexts"`
	Authenticator Bytes        `json:"authenticator"`
	Roots         []string     `json:"roots"`
	ServerName    *string      `json:"server_name"`
	Time          time.Time    `json:"time"`
}

type authenticatorExpected struct {
	Identity              string      `json:"identity"`
	Context               Bytes       `json:"context"`
	Scheme                uint16      `json:"scheme"`
	Certificates          []Bytes     `json:"certificates"`
	LeafExtensions        []Extension `json:"leaf_extensions"`
	HandshakeContext      Bytes       `json:"handshake_context"`
	FinishedKey           Bytes       `json:"finished_key"`
	CertificateVerifyHash Bytes       `json:"certificate_verify_hash"`
	FinishedHash          Bytes       `json:"finished_hash"`
	VerifyData            Bytes       `json:"verify_data"`
}

type refusalExpected struct {
	HandshakeContext Bytes `json:"handshake_context"`
	FinishedKey      Bytes `json:"finished_key"`
	FinishedHash     Bytes `json:"finished_hash"`
	VerifyData       Bytes `json:"verify_data"`
}

const (
	reasonChain   = "chain"
	reasonRefused = "refused"
)

// authenticatorSentinels is the group's closed list in the order of the checks.
// The chain's reason has the certificate's error: see runAuthenticator.
var authenticatorSentinels = []sentinel{
	{authenticator.ErrMisuse, "unsolicited"},
	{authenticator.ErrLimit, "limit"},
	{authenticator.ErrDecode, "malformed"},
	{authenticator.ErrUnexpectedMessage, "unexpected-message"},
	{authenticator.ErrIllegalExtension, "illegal-extension"},
	{authenticator.ErrRefused, reasonRefused},
	{authenticator.ErrContextMismatch, "context-mismatch"},
	{authenticator.ErrContextReuse, "context-reuse"},
	{authenticator.ErrUnsupportedExtension, "unsupported-extension"},
	{authenticator.ErrCertificate, "certificate"},
	{authenticator.ErrSignatureScheme, "scheme"},
	{authenticator.ErrSignature, "signature"},
	{authenticator.ErrFinished, "finished"},
}

var authenticatorReasons = append(reasons(authenticatorSentinels), reasonChain)

func runAuthenticator(k *keyring, in *authenticatorInput) (outcome, error) {
	s, err := session(&in.Connection, otherSide(in.Sender))
	if err != nil {
		return outcome{}, err
	}
	if err := use(s, in.UsedContexts); err != nil {
		return outcome{}, err
	}
	chain, err := in.chainVerifier(k)
	if err != nil {
		return outcome{}, err
	}
	chainFailed := false
	options := authenticator.ValidateOptions{VerifyChain: func(c authenticator.Chain) error {
		err := chain(c)
		chainFailed = err != nil
		return err
	}}
	peer, err := in.validate(s, options)
	switch {
	case chainFailed:
		return outcome{reason: reasonChain}, nil
	case errors.Is(err, authenticator.ErrRefused):
		return in.refused()
	case err != nil:
		return reasonOf(err, authenticatorSentinels)
	}
	return in.accepted(k, peer)
}

func (in *authenticatorInput) chainVerifier(k *keyring) (authenticator.ChainVerifier, error) {
	pool, err := k.pool(in.Roots)
	if err != nil {
		return nil, err
	}
	now := func() time.Time { return in.Time }
	switch {
	case in.Sender == sideServer && in.ServerName != nil:
		return authenticator.VerifyServerChain(pool, *in.ServerName, now), nil
	case in.Sender == sideClient && in.ServerName == nil:
		return authenticator.VerifyClientChain(pool, now), nil
	}
	return nil, errors.New("server_name goes with a server that authenticates, and with it only")
}

// validate hands the authenticator to the function that is for its kind.
func (in *authenticatorInput) validate(s *authenticator.Session, o authenticator.ValidateOptions) (*authenticator.Peer, error) {
	if (in.Request == nil) != (in.ClientHello != nil) {
		return nil, errors.New("want either request or client_hello")
	}
	if in.Request == nil {
		return s.ValidateSpontaneous(in.hello(), in.Authenticator, o)
	}
	r, err := send(s, *in.Request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return s.Validate(r, in.Authenticator, o)
}

func (in *authenticatorInput) hello() authenticator.ClientHello {
	h := authenticator.ClientHello{Extensions: in.ClientHello.Extensions}
	for _, scheme := range in.ClientHello.SignatureSchemes {
		h.SignatureSchemes = append(h.SignatureSchemes, tls.SignatureScheme(scheme))
	}
	return h
}

// request is what enters the transcript.
func (in *authenticatorInput) request() []byte {
	if in.Request == nil {
		return nil
	}
	return *in.Request
}

// roleSecrets are the two exporter values of a sender (RFC 9261, Section 5.1).
func (c *Connection) roleSecrets(sender string) (handshakeContext, finishedKey Bytes, err error) {
	size := c.Hash().Size()
	hc, err := c.ExportKeyingMaterial("EXPORTER-"+sender+" authenticator handshake context", []byte{}, size)
	if err != nil {
		return nil, nil, err
	}
	fk, err := c.ExportKeyingMaterial("EXPORTER-"+sender+" authenticator finished key", []byte{}, size)
	return hc, fk, err
}

// accepted says what was proved, and has the package make the authenticator again.
func (in *authenticatorInput) accepted(k *keyring, peer *authenticator.Peer) (outcome, error) {
	messages, err := cutMessages(in.Authenticator)
	if err != nil || len(messages) != 3 {
		return outcome{}, errStructure
	}
	certificate, verify, finished := messages[0], messages[1], messages[2]
	if c, err := authenticator.Context(in.Authenticator); err != nil || !bytes.Equal(c, peer.Context()) {
		return outcome{}, fmt.Errorf("authenticator.Context: %x, %w", c, err)
	}
	out := authenticatorExpected{
		Context:        peer.Context(),
		Scheme:         uint16(verify[4])<<8 | uint16(verify[5]),
		LeafExtensions: extensionsOf(peer.Entries()[0]),
		VerifyData:     finished[4:],
	}
	for _, e := range peer.Entries() {
		out.Certificates = append(out.Certificates, e.Certificate)
	}
	if out.HandshakeContext, out.FinishedKey, err = in.Connection.roleSecrets(in.Sender); err != nil {
		return outcome{}, err
	}
	out.CertificateVerifyHash = in.Connection.digest(out.HandshakeContext, in.request(), certificate)
	out.FinishedHash = in.Connection.digest(out.HandshakeContext, in.request(), certificate, verify)
	for name, id := range k.identities {
		if bytes.Equal(id.Certificate[0], out.Certificates[0]) {
			out.Identity = name
			return outcome{value: out}, in.remake(id, peer)
		}
	}
	return outcome{}, fmt.Errorf("the leaf is no identity's in %s", keysName)
}

func extensionsOf(e authenticator.Entry) []Extension {
	out := []Extension{}
	for _, x := range e.Extensions {
		out = append(out, Extension{x.Type, x.Data})
	}
	return out
}

// remake has the package answer the request with the same identity, and validates
// that. A deterministic signature makes the same bytes.
func (in *authenticatorInput) remake(id tls.Certificate, peer *authenticator.Peer) error {
	if in.Request == nil {
		return nil // the context would be another
	}
	sender, err := session(&in.Connection, in.Sender)
	if err != nil {
		return err
	}
	received, err := sender.ReceiveRequest(*in.Request)
	if err != nil {
		return fmt.Errorf("the sender does not take the request: %w", err)
	}
	id.Certificate = nil
	for _, c := range peer.Chain().Certificates {
		id.Certificate = append(id.Certificate, c.Raw)
	}
	identity, err := authenticator.NewIdentity(id)
	if err != nil {
		return err
	}
	again, err := sender.Authenticate(context.Background(), received, identity, peer.Entries()[0].Extensions...)
	if err != nil {
		return fmt.Errorf("the sender does not authenticate: %w", err)
	}
	if identity.Leaf().PublicKeyAlgorithm.String() == "Ed25519" && !bytes.Equal(again, in.Authenticator) {
		return errors.New("what the sender makes anew has other bytes")
	}
	s, err := session(&in.Connection, otherSide(in.Sender))
	if err != nil {
		return err
	}
	r, err := send(s, *in.Request)
	if err != nil {
		return err
	}
	if _, err := s.Validate(r, again, authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain}); err != nil {
		return fmt.Errorf("what the sender makes anew is refused: %w", err)
	}
	return nil
}

// refused says what a right empty authenticator is made of, and has the package
// make it again.
func (in *authenticatorInput) refused() (outcome, error) {
	hc, fk, err := in.Connection.roleSecrets(in.Sender)
	if err != nil {
		return outcome{}, err
	}
	r, err := cutRequest(in.request())
	if err != nil {
		return outcome{}, err
	}
	sender, err := session(&in.Connection, in.Sender)
	if err != nil {
		return outcome{}, err
	}
	received, err := sender.ReceiveRequest(in.request())
	if err != nil {
		return outcome{}, fmt.Errorf("the sender does not take the request: %w", err)
	}
	again, err := sender.Refuse(received)
	if err != nil {
		return outcome{}, err
	}
	if !bytes.Equal(again, in.Authenticator) {
		return outcome{}, errors.New("what the sender makes anew has other bytes")
	}
	empty := encodeCertificate(r.context, nil, nil)
	return outcome{reason: reasonRefused, value: refusalExpected{
		HandshakeContext: hc, FinishedKey: fk,
		FinishedHash: in.Connection.digest(hc, in.request(), empty),
		VerifyData:   Bytes(in.Authenticator[4:]),
	}}, nil
}
