package passport

import (
	"context"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

// VerifierOptions say which passports are accepted. By default the EAR's nonce must be
// the binder and every submodule state the authenticator's key: it was issued for this
// connection, request and key. A key that the EAR states must be the authenticator's
// in every case.
type VerifierOptions struct {
	Checker *ear.Checker // whose EARs; required
	// KeyBound takes an EAR that was issued beforehand, if every submodule states
	// the authenticator's key. It is no proof of what the peer is now: a peer
	// that has changed since is noticed when the EAR expires and not earlier, so
	// that the Checker's MaxAge should be short.
	KeyBound bool
	// AcceptUnattestedKey takes an EAR with the right nonce that states no key, as a
	// Verifier makes it that compares nothing but the nonce. Such a Verifier does
	// not notice Evidence that vouches for another key, obtained from a TEE that
	// quotes whatever it is given: what is lost is that the attested environment
	// holds the key of the connection. It excludes KeyBound and
	// AllowUnboundPassport.
	AcceptUnattestedKey bool
	// AllowUnboundPassport takes an EAR that is bound to nothing of this
	// connection: anyone who has seen it can present it, until it expires. It
	// excludes KeyBound.
	AllowUnboundPassport bool
	// Lifetime bounds that of the Result, which never outlives the EAR. Zero: as
	// long as the EAR.
	Lifetime time.Duration
}

// A Verifier accepts EARs as the relying party of the passport model. It is an
// [attestation.Verifier].
type Verifier struct {
	checker *ear.Checker
	result  ear.ResultOptions
}

// NewVerifier makes a Verifier; the error wraps [attestation.ErrMisuse].
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	switch {
	case o.Checker == nil:
		return nil, fmt.Errorf("%w: a verifier of passports needs Checker", attestation.ErrMisuse)
	case o.KeyBound && o.AllowUnboundPassport, o.AcceptUnattestedKey && (o.KeyBound || o.AllowUnboundPassport):
		return nil, fmt.Errorf("%w: set one of KeyBound, AcceptUnattestedKey and AllowUnboundPassport at most", attestation.ErrMisuse)
	case o.Lifetime != 0 && o.Lifetime < time.Second:
		return nil, fmt.Errorf("%w: Lifetime is a second or more", attestation.ErrMisuse)
	}
	return &Verifier{checker: o.Checker, result: ear.ResultOptions{
		Lifetime:         o.Lifetime,
		AllowUnstatedKey: o.AcceptUnattestedKey || o.AllowUnboundPassport,
		AllowOtherNonce:  o.KeyBound || o.AllowUnboundPassport,
	}}, nil
}

// MediaTypes is [ear.MediaType].
func (v *Verifier) MediaTypes() []string { return []string{ear.MediaType} }

// Appraise checks the EAR in m and what it is bound to. The errors are those of
// [ear.Checker.Check] and [ear.EAR.Result]; a message that is not one record with
// an EAR is [attestation.ErrMalformed].
func (v *Verifier) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	switch {
	case m.Kind() != cmw.KindRecord:
		return nil, fmt.Errorf("%w: a passport is one record, not a %v", attestation.ErrMalformed, m.Kind())
	case !cmw.SameMediaType(m.MediaType(), ear.MediaType):
		return nil, fmt.Errorf("%w: a passport is %s, not %.100q", attestation.ErrMalformed, ear.MediaType, m.MediaType())
	case m.Indicator() != 0 && m.Indicator() != cmw.AttestationResults:
		return nil, fmt.Errorf("%w: the passport is labelled %v", attestation.ErrMalformed, m.Indicator())
	}
	e, err := v.checker.Check(ctx, m.Value())
	if err != nil {
		return nil, err
	}
	return e.Result(b, v.result)
}
