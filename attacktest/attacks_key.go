package attacktest

import (
	"context"
	"slices"

	"github.com/expat-go/expat/authenticator"
)

// Keys that the environment does not hold, environments that are not the one
// meant, and one half of the proof without the other: I-2, I-4, I-5, I-7, I-11.

func keyAttacks() []attack {
	return slices.Concat(
		relying(Attack{
			Name: "certificate without its key", Requirement: "I-4", Has: "the certificate and the Evidence of someone else",
			Does:    "signs with a key that is not the certificate's",
			Defence: "CertificateVerify",
		}, shows(unproved)),
		relying(Attack{
			Name: "forged Finished", Requirement: "I-3", Has: genuine,
			Does:    "sends a wrong MAC",
			Defence: "Finished",
		}, shows(unfinished)),
		relying(Attack{
			Name: "key substitution", Requirement: "I-4", Has: "a certificate for a key in software, and a good environment with another key",
			Does:    "signs the authenticator with the key in software and shows Evidence for the other",
			Defence: "binder and key hash are computed from the leaf of the authenticator",
		}, shows(keySubstitution)),
		relying(Attack{
			Name: "key hash of another key", Requirement: "I-2", Has: "an environment that quotes any binder, and names its own key",
			Does:    "has it quote the binder of this connection and of his own key",
			Defence: "the key hash in the Evidence is compared with the leaf's",
		}, shows(func(ctx context.Context, p *peer) ([]byte, error) {
			if p.party.Misnamed == nil {
				return nil, inapplicable("the Party has no Misnamed")
			}
			return p.answer(ctx, p.id, p.party.Misnamed)
		})),
		relying(Attack{
			Name: "key outside the environment", Requirement: "I-2", Has: "a certificate for a key in software, and an environment that attests any key",
			Does:    "has it attest the key in software for this connection",
			Defence: "the policy demands keys that were born inside",
		}, shows(foreignKey)),
		relying(Attack{
			Name: "diversion", Requirement: "I-7", Has: "another machine with the same software, and a certificate",
			Does:    "takes the place of the machine that is meant",
			Defence: "the policy names the instance",
		}, shows(func(ctx context.Context, p *peer) ([]byte, error) {
			return p.as(ctx, p.party.Diverted, "no Diverted")
		})),
		mutually(relying(Attack{
			Name: "reflected identity", Requirement: "I-5", Has: "the victim's own identity key, attested",
			Does:    "shows the victim its own key",
			Defence: "a peer that shows our own key is refused",
		}, shows(func(ctx context.Context, p *peer) ([]byte, error) {
			return p.as(ctx, p.party.Twin, "no Twin: only who has lost a key meets it again")
		}))),
		relying(Attack{
			Name: "certificate of nobody", Requirement: "I-11", Has: "a good environment",
			Does:    "shows good Evidence for a key whose certificate he signed himself",
			Defence: "X.509 validation, which attestation does not replace",
		}, shows(uncertified)),
		relying(Attack{
			Name: "Evidence of nobody", Requirement: "I-11", Has: "a certificate of the right CA",
			Does:    "shows Evidence that is good in all but who signed it",
			Defence: "the chain of the Evidence's signer to a root of the policy",
		}, shows(func(ctx context.Context, p *peer) ([]byte, error) {
			return p.as(ctx, p.party.Unknown, "no Unknown")
		})),
		relying(Attack{
			Name: "tampered Evidence", Requirement: "I-11", Has: genuine,
			Does:    "changes a byte of the Evidence after it was signed",
			Defence: "the signature of the Evidence",
		}, shows(func(ctx context.Context, p *peer) ([]byte, error) {
			return p.answer(ctx, p.id, changed{p.party.Attester, tampered})
		})),
	)
}

// as answers as another Party, if there is one.
func (p *peer) as(ctx context.Context, other *Party, missing string) ([]byte, error) {
	if other == nil {
		return nil, inapplicable("the Party has " + missing)
	}
	id, err := authenticator.NewIdentity(other.Identity)
	if err != nil {
		return nil, err
	}
	return p.answer(ctx, id, other.Attester)
}

// other is the identity outside the environment.
func (p *peer) other() (*authenticator.Identity, error) {
	if p.party.Other == nil {
		return nil, inapplicable("the Party has no Other")
	}
	return authenticator.NewIdentity(*p.party.Other)
}

func keySubstitution(ctx context.Context, p *peer) ([]byte, error) {
	other, err := p.other()
	if err != nil {
		return nil, err
	}
	inside, err := p.madeFor(ctx, p.asked, p.id)
	if err != nil {
		return nil, err
	}
	return p.answer(ctx, other, inside)
}

func foreignKey(ctx context.Context, p *peer) ([]byte, error) {
	other, err := p.other()
	if err != nil {
		return nil, err
	}
	if p.party.Foreign == nil {
		return nil, inapplicable("the Party has no Foreign")
	}
	return p.answer(ctx, other, p.party.Foreign)
}

func uncertified(ctx context.Context, p *peer) ([]byte, error) {
	cert, err := selfSigned(p.party.Identity)
	if err != nil {
		return nil, err
	}
	return p.as(ctx, &Party{Identity: cert, Attester: p.party.Attester}, "")
}
