package authenticator

import (
	"bytes"
	"crypto/tls"
)

// Unverified is what an authenticator says. Nothing in it is checked but its form:
// anyone can have made it, for any connection. It is for people who look at
// messages, and for nothing that decides.
type Unverified struct {
	Empty     bool   // Finished alone (RFC 9261, Section 6): of the rest only Finished is set
	Context   []byte // certificate_request_context
	Entries   []Entry
	Scheme    tls.SignatureScheme // of CertificateVerify, as the next
	Signature []byte
	Finished  []byte // verify_data
}

// ParseUnverified reads an authenticator of at most [MaxAuthenticator] bytes and
// checks only its form, as [Session.Validate] does first. It verifies nothing. The
// error is that of [Context], but an empty authenticator is none.
func ParseUnverified(msg []byte) (*Unverified, error) {
	p, err := parseAuthenticator(bytes.Clone(msg))
	if err != nil {
		return nil, fail(OpContext, FaultPeer, err)
	}
	return &Unverified{
		Empty: p.empty, Context: p.context, Entries: p.entries,
		Scheme: p.scheme, Signature: p.signature, Finished: p.verifyData,
	}, nil
}
