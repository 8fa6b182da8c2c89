package expathttp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// A Demand judges the verdict on a peer for one purpose: nil if it suffices, else
// the reason, for the log. It does not replace the Verifier's policy, without
// which there is no verdict. It is safe for concurrent use and never given nil.
type Demand func(*attestation.Result) error

// Tier demands a trust tier at least as good as worst: TierAffirming, or
// TierWarning, which admits both. With any other tier nothing suffices.
func Tier(worst attestation.Tier) Demand {
	return func(r *attestation.Result) error {
		got := r.Tier()
		switch {
		case worst != attestation.TierAffirming && worst != attestation.TierWarning:
			return fmt.Errorf("%w: tier %v cannot be demanded", ErrConfig, worst)
		case got != attestation.TierAffirming && got != worst:
			return fmt.Errorf("trust tier is %v, want %v", got, worst)
		}
		return nil
	}
}

// Claim demands that the appraisal of an attesting environment relied on a claim
// with the given value, compared as JSON: a string type equals its string, 1 equals
// 1.0. Every appraisal with that label must have it. A want of nil, or one that
// JSON cannot express, equals nothing.
func Claim(environment, name string, want any) Demand {
	wanted, err := json.Marshal(want)
	return func(r *attestation.Result) error {
		if err != nil || want == nil {
			return fmt.Errorf("%w: claim %q is demanded with no value", ErrConfig, name)
		}
		found := false
		for _, a := range r.Appraisals() {
			if a.Environment != environment {
				continue
			}
			got, there := a.Claims[name]
			if !there {
				return fmt.Errorf("environment %q makes no claim %q", environment, name)
			}
			if value, err := json.Marshal(got); err != nil || !bytes.Equal(value, wanted) {
				return fmt.Errorf("claim %q of environment %q is not %s", name, environment, wanted)
			}
			found = true
		}
		if !found {
			return fmt.Errorf("there is no appraisal of an environment %q", environment)
		}
		return nil
	}
}

// complete finds a Demand that is nil: nobody meets it.
func complete(demands []Demand) error {
	for i, demand := range demands {
		if demand == nil {
			return fmt.Errorf("%w: demand %d is nil", ErrConfig, i)
		}
	}
	return nil
}

// meets judges a verdict by all demands. No verdict meets nothing.
func meets(r *attestation.Result, demands []Demand) error {
	if r == nil {
		return ErrNotAttested
	}
	if err := complete(demands); err != nil {
		return err
	}
	for _, demand := range demands {
		if err := demand(r); err != nil {
			return fmt.Errorf("%w: %w", ErrDemand, err)
		}
	}
	return nil
}

// A Guard is a handler that lets a request through to another one only if it came
// over an attested connection whose peer meets all demands; [Require] makes it. To
// anybody else it answers 403 without a reason. The zero Guard lets nothing
// through.
type Guard struct {
	// Denied, if set, is told why a request was not let through. The reason is
	// for the log: the peer must not see it.
	Denied func(r *http.Request, reason error)

	next    http.Handler
	demands []Demand
}

// Require guards next. Without demands it demands an acceptable verdict, of any
// tier that the Verifier's policy admits.
func Require(next http.Handler, demands ...Demand) *Guard {
	return &Guard{next: next, demands: demands}
}

// ServeHTTP implements [http.Handler].
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := g.admit(r); err != nil {
		if g.Denied != nil {
			g.Denied(r, err)
		}
		http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *Guard) admit(r *http.Request) error {
	if g.next == nil {
		return fmt.Errorf("%w: the guarded handler is nil", ErrConfig)
	}
	conn, ok := expat.FromContext(r.Context())
	if !ok {
		return ErrNotAttested
	}
	return meets(valid(conn), g.demands)
}
