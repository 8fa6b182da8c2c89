package attacktest

import (
	"context"
	"slices"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// Authenticators and Evidence that are good, but not for this connection, this
// request and this role: I-1, I-3, I-5, I-14.

const genuine = "a certificate of the right CA and a good environment"

func bindingAttacks() []attack {
	return slices.Concat(
		relying(Attack{
			Name: "replayed authenticator", Requirement: "I-1", Has: genuine,
			Does:    "answers with an authenticator for an earlier request on the same connection",
			Defence: "certificate_request_context of the request is compared",
		}, shows(replayedAuthenticator)),
		relying(Attack{
			Name: "replayed Evidence", Requirement: "I-1", Has: genuine,
			Does:    "puts Evidence for an earlier request on the same connection into a good authenticator",
			Defence: "the request's context enters the binder",
		}, shows(replayedEvidence)),
		relying(Attack{
			Name: "authenticator of another connection", Requirement: "I-3", Has: genuine,
			Does:    "answers with an authenticator made on another connection for a request with the same context",
			Defence: "the exporter's Handshake Context in CertificateVerify and Finished",
		}, shows(foreignAuthenticator)),
		relying(Attack{
			Name: "Evidence of another connection", Requirement: "I-3", Has: genuine,
			Does:    "puts Evidence made on another connection, for the same context and key, into a good authenticator",
			Defence: "the connection's exporter value in the binder",
		}, shows(foreignEvidence)),
		relying(Attack{
			Name: "authenticator of the other role", Requirement: "I-5", Has: genuine,
			Does:    "makes the authenticator with the exporter labels of the victim's own role",
			Defence: "the sender's role in the exporter labels",
		}, shows(otherRole)),
		relying(Attack{
			Name: "unsigned collection", Requirement: "I-14", Has: genuine,
			Does:    "puts the right binder beside Evidence with a wrong one, in one collection",
			Defence: "the binder is compared in signed Evidence only, in every leaf",
		}, shows(unsignedCollection)),
		relying(Attack{
			Name: "unsigned envelope", Requirement: "I-14", Has: genuine,
			Does:    "puts the right binder around Evidence with a wrong one, where no signature covers it",
			Defence: "the binder is compared in signed Evidence only",
		}, shows(unsignedEnvelope)),
	)
}

// rightEvidence answers a request elsewhere with Evidence for the one asked here,
// so that nothing but the authenticator is wrong.
func (p *peer) rightEvidence(ctx context.Context, s *authenticator.Session, asked *authenticator.ReceivedRequest) ([]byte, error) {
	right, err := p.madeFor(ctx, p.asked, p.id)
	if err != nil {
		return nil, err
	}
	return p.answerTo(ctx, s, asked, p.id, right)
}

func replayedAuthenticator(ctx context.Context, p *peer) ([]byte, error) {
	s, asked, err := p.elsewhere(nil, p.role)
	if err != nil {
		return nil, err
	}
	return p.rightEvidence(ctx, s, asked)
}

func replayedEvidence(ctx context.Context, p *peer) ([]byte, error) {
	_, asked, err := p.elsewhere(nil, p.role)
	if err != nil {
		return nil, err
	}
	old, err := p.madeFor(ctx, asked, p.id)
	if err != nil {
		return nil, err
	}
	return p.answer(ctx, p.id, old)
}

// another is a second connection to the victim, and a request on it that has the
// context of the first connection's.
func another(ctx context.Context, p *peer) (*authenticator.Session, *authenticator.ReceivedRequest, error) {
	q, err := p.meet(ctx)
	if err != nil {
		return nil, nil, err
	}
	return q.elsewhere(p.asked.Context(), p.role)
}

func foreignAuthenticator(ctx context.Context, p *peer) ([]byte, error) {
	s, asked, err := another(ctx, p)
	if err != nil {
		return nil, err
	}
	return p.rightEvidence(ctx, s, asked)
}

func foreignEvidence(ctx context.Context, p *peer) ([]byte, error) {
	_, asked, err := another(ctx, p)
	if err != nil {
		return nil, err
	}
	old, err := p.madeFor(ctx, asked, p.id)
	if err != nil {
		return nil, err
	}
	return p.answer(ctx, p.id, old)
}

// rightAndWrong are the Binding asked for and one of another request.
func rightAndWrong(ctx context.Context, p *peer) (right, wrong attestation.Binding, err error) {
	if right, err = p.bindingOf(ctx, p.asked, p.id); err != nil {
		return right, wrong, err
	}
	_, asked, err := p.elsewhere(nil, p.role)
	if err != nil {
		return right, wrong, err
	}
	wrong, err = p.bindingOf(ctx, asked, p.id)
	return right, wrong, err
}

func unsignedCollection(ctx context.Context, p *peer) ([]byte, error) {
	right, wrong, err := rightAndWrong(ctx, p)
	if err != nil {
		return nil, err
	}
	m, err := p.evidence(ctx, wrong)
	if err != nil {
		return nil, err
	}
	outer, err := cmw.NewRecord("application/octet-stream", right.Binder(), cmw.Evidence)
	if err != nil {
		return nil, err
	}
	both, err := cmw.NewCollection("", []cmw.Item{
		{Label: cmw.TextLabel("evidence"), Message: m}, {Label: cmw.TextLabel("nonce"), Message: outer},
	})
	if err != nil {
		return nil, err
	}
	b, err := both.MarshalCBOR()
	if err != nil {
		return nil, err
	}
	return p.answerWith(ctx, b)
}

func unsignedEnvelope(ctx context.Context, p *peer) ([]byte, error) {
	if p.party.Dressed == nil {
		return nil, inapplicable("the Party has no Dressed: its Evidence may have no such envelope")
	}
	right, wrong, err := rightAndWrong(ctx, p)
	if err != nil {
		return nil, err
	}
	m, err := p.party.Dressed(ctx, wrong, right)
	if err != nil {
		return nil, err
	}
	return p.answer(ctx, p.id, fixed{p.party.Attester.MediaTypes(), m})
}
