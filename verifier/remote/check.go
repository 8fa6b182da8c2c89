package remote

import (
	"context"
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
	if !sameNonce(e.Nonce(), q.nonce) {
		return nil, unusable(fmt.Errorf("%w: it answers for other Evidence", ear.ErrNonce))
	}
	r, err := e.Result(q.binding, ear.ResultOptions{
		Lifetime:         v.o.Lifetime,
		AllowUnstatedKey: q.committed || v.o.AcceptUnattestedKey,
		AllowOtherNonce:  true, // compared above: it may be the report data
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
