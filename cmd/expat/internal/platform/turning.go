package platform

import (
	"context"
	"sync"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// turning is a TEE whose state turns bad while it runs: some time after it has been
// asked first.
type turning struct {
	attestation.Attester                      // good
	bad                  attestation.Attester // what it is from then on
	after                time.Duration
	turned               func() // told when; may be nil

	mu    sync.Mutex
	timer *time.Timer // nil before it was asked
	is    bool        // bad
	over  bool        // closed
}

// Attest makes Evidence as the state of the moment is.
func (t *turning) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return t.state().Attest(ctx, b, accept)
}

func (t *turning) state() attestation.Attester {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil && !t.over {
		t.timer = time.AfterFunc(t.after, t.turn)
	}
	if t.is {
		return t.bad
	}
	return t.Attester
}

func (t *turning) turn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.is = true
	if t.turned != nil {
		t.turned()
	}
}

// close stops what is to come.
func (t *turning) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
	return nil
}
