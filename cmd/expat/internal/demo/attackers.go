package demo

import (
	"context"
	"errors"
	"sync"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
)

// relay is an Attester without a TEE: it fetches the Evidence of the real server
// over a connection of its own and passes it on.
type relay struct {
	cast *cast
}

func (r *relay) MediaTypes() []string { return []string{simulated.MediaType} }

func (r *relay) Attest(ctx context.Context, _ attestation.Binding, _ []string) (*cmw.Message, error) {
	catch := new(catcher)
	cfg, err := r.cast.attacker(r.cast.client.name, bluff{}, catch)
	if err != nil {
		return nil, err
	}
	m, err := meet(ctx, r.cast.config(r.cast.server, nil), cfg)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if evidence := catch.message(); evidence != nil {
		return evidence, nil
	}
	return nil, errors.Join(errors.New("no Evidence to relay"), m.clientErr, m.serverErr)
}

// catcher is a Verifier that keeps the Evidence it is to appraise.
type catcher struct {
	mu     sync.Mutex
	caught *cmw.Message
}

func (c *catcher) MediaTypes() []string { return []string{simulated.MediaType} }

func (c *catcher) Appraise(_ context.Context, _ attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caught = m
	return nil, attestation.Reject(errors.New("it is all that was wanted"))
}

func (c *catcher) message() *cmw.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.caught
}

// bluff is an Attester that sends bytes which are no Evidence, to get as far as
// seeing that of the other side.
type bluff struct{}

func (bluff) MediaTypes() []string { return []string{simulated.MediaType} }

func (bluff) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	return cmw.NewRecord(simulated.MediaType, []byte("bluff"), cmw.Evidence)
}

// credulous is a Verifier that accepts whatever it is shown.
type credulous struct{}

func (credulous) MediaTypes() []string { return []string{simulated.MediaType} }

func (credulous) Appraise(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "credulous", Lifetime: attestation.ConnectionLifetime,
		Appraisals: []attestation.Appraisal{{Environment: "any", Status: attestation.TierAffirming, Policy: "any"}},
	})
}
