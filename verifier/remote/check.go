package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier/ear"
)

// check judges an EAR. All that it must be bound to is compared with what this side
// computed.
func (v *Verifier) check(ctx context.Context, q *question, token []byte) (*answer, error) {
	e, err := v.o.Checker.Check(ctx, token)
	switch {
	case errors.Is(err, ear.ErrTier):
		return nil, err // a verdict of no
	case err != nil:
		return nil, unusable(err)
	}
	nonce, err := nonceOf(token)
	if err != nil || !sameNonce(nonce, q.nonce) {
		return nil, unusable(fmt.Errorf("%w: it answers for other Evidence", ear.ErrNonce))
	}
	r, err := e.Result(q.binding, ear.ResultOptions{
		Lifetime:         v.o.Lifetime,
		AllowUnstatedKey: q.committed || v.o.AcceptUnattestedKey,
		AllowOtherNonce:  true, // compared above, in the form that was sent
	})
	switch {
	case errors.Is(err, ear.ErrKey):
		return nil, err // the Evidence vouches for another key
	case err != nil:
		return nil, unusable(err)
	}
	return &answer{token, r, e.Expires()}, nil
}

// unusable is an EAR that is no verdict on what was asked. A [attestation.RejectedError]
// of the checker is about the EAR and not about the peer, so it is taken off.
func unusable(err error) error {
	var no *attestation.RejectedError
	if errors.As(err, &no) {
		err = no.Err
	}
	return &Error{Step: StepResult, Err: fmt.Errorf("%w: %w", ErrResult, err)}
}

// nonceOf reads eat_nonce out of a token whose signature is good. Package ear compares
// it with a binder in unpadded base64url only; the real Veraison service writes it
// padded, and it may be the report data.
func nonceOf(token []byte) ([]byte, error) {
	parts := bytes.Split(token, []byte("."))
	if len(parts) != 3 {
		return nil, errSession
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(string(parts[1]))
	if err != nil {
		return nil, errSession
	}
	claims, err := parseObject(payload)
	if err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(claims["eat_nonce"], &text); err != nil {
		return nil, errSession
	}
	nonce, err := base64.RawURLEncoding.Strict().DecodeString(string(bytes.TrimRight([]byte(text), "=")))
	if err != nil || (text != encodeNonce(nonce) && text != base64.URLEncoding.EncodeToString(nonce)) {
		return nil, errSession
	}
	return nonce, nil
}
