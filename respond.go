package expat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/wire"
)

// This file is the attester: receive the request, attest, authenticate.

func (x *exchange) receiveRequest(ctx context.Context, payload []byte) *Error {
	asked, err := x.session.ReceiveRequest(payload)
	if err != nil {
		return failed(StageRequest, err)
	}
	x.asked = asked
	x.state.answer = answerOwed
	if x.ClientFirst && x.role == authenticator.Server && x.state.ask == askPending {
		return nil // receiveAuthenticator responds
	}
	return x.respond(ctx)
}

// respond sends the authenticator that was asked for, or an empty one if there
// is nothing to show.
func (x *exchange) respond(ctx context.Context) *Error {
	message, refusal, err := x.attest(ctx, x.asked)
	if err != nil {
		return err
	}
	x.refusal = refusal
	x.out.send(frame{wire.Authenticator, message})
	x.state.answer = answerSent
	return nil
}

// attest makes the authenticator for a request. If there is nothing to show it is
// empty, and refusal says why.
func (x *exchange) attest(ctx context.Context, asked *authenticator.ReceivedRequest) (message []byte, refusal, err *Error) {
	err = x.work(ctx, StageRequest, func() (err *Error) {
		message, err = x.authenticate(ctx, asked)
		return err
	})
	if err != nil && refuses(err) {
		refusal = err
		empty, e := x.session.Refuse(asked)
		if e != nil {
			return nil, nil, failed(StageAuthenticate, e)
		}
		message, err = empty, nil
	}
	if err == nil && len(message) > x.hello.MaxAuthenticator {
		err = failed(StageAuthenticate, fmt.Errorf("%w: our authenticator has %d bytes, the peer takes %d", wire.ErrTooLarge, len(message), x.hello.MaxAuthenticator))
	}
	return message, refusal, err
}

var errNoAttester = errors.New("we have no Attester")

// refuses tells a failure to have anything to show, which is answered with an
// empty authenticator (RFC 9261, Section 6), from trouble.
func refuses(e *Error) bool {
	return errors.Is(e, errNoAttester) || errors.Is(e, authenticator.ErrNoIdentity) ||
		errors.Is(e, attestation.ErrNotOffered) || errors.Is(e, attestation.ErrMediaType)
}

// authenticate binds Evidence to the identity that fits the request, and signs.
func (x *exchange) authenticate(ctx context.Context, asked *authenticator.ReceivedRequest) ([]byte, *Error) {
	if x.Attester == nil {
		return nil, failed(StageAttest, errNoAttester)
	}
	id, err := asked.Select(x.signers()...)
	if err != nil {
		return nil, failed(StageAuthenticate, err)
	}
	start := time.Now()
	evidence, err := attestation.Attest(ctx, x.profile, asked, id, x.Attester, x.hello.MediaTypes)
	x.Trace.attested(time.Since(start), err)
	if err != nil {
		return nil, failed(StageAttest, err)
	}
	message, err := x.session.Authenticate(ctx, asked, id, evidence)
	if err != nil {
		return nil, failed(StageAuthenticate, err)
	}
	return message, nil
}

// receiveResult takes the peer's verdict on us. A code other than 0 means that
// the peer closes.
func (x *exchange) receiveResult(payload []byte) *Error {
	verdict, err := wire.ParseResult(payload)
	if err != nil {
		return failed(StageResult, err)
	}
	if Alert(verdict.Code) != AlertAccepted {
		return x.withRefusal(reported(StageResult, verdict.Code))
	}
	if x.refusal != nil {
		return failed(StageResult, fmt.Errorf("%w: peer accepted a refusal", ErrProtocol))
	}
	x.theirs = instant{}
	if verdict.Lifetime != 0 {
		x.theirs = x.instant().add(verdict.Lifetime)
	}
	x.state.answer = answerDone
	return nil
}
