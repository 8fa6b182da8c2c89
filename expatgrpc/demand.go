package expatgrpc

import (
	"context"
	"fmt"

	"google.golang.org/grpc/credentials"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/expathttp"
)

// A Demand judges the verdict on a peer for one purpose; those of HTTP serve here
// too.
type Demand = expathttp.Demand

// Tier is [expathttp.Tier]: it demands a trust tier at least as good as worst.
func Tier(worst attestation.Tier) Demand { return expathttp.Tier(worst) }

// Claim is [expathttp.Claim]: it demands that the appraisal of an attesting
// environment relied on a claim with the given value, compared as JSON.
func Claim(environment, name string, want any) Demand {
	return expathttp.Claim(environment, name, want)
}

// meets judges a verdict by all demands. No verdict meets nothing, and nothing
// meets a Demand that is nil.
func meets(r *attestation.Result, demands []Demand) error {
	if r == nil {
		return ErrNotAttested
	}
	for i, demand := range demands {
		if demand == nil {
			return fmt.Errorf("%w: demand %d is nil", ErrConfig, i)
		}
	}
	for _, demand := range demands {
		if err := judge(demand, r); err != nil {
			return fmt.Errorf("%w: %w", ErrDemand, err)
		}
	}
	return nil
}

// judge calls a Demand. One that panics over what a peer claims is not met: gRPC
// recovers nothing, and the process would end.
func judge(demand Demand, r *attestation.Result) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked with a %T", p) // whose text could repeat what it was shown
		}
	}()
	return demand(r)
}

// RequireServer returns what makes a call go only to a server whose verdict meets
// all demands, judged on the very connection that then carries the call: for all
// calls of a channel with grpc.WithPerRPCCredentials, for one with the call option
// grpc.PerRPCCredentials. Without demands it demands any verdict that the
// Verifier's policy admits. It adds nothing to a call.
//
// A call that is refused is not sent. It ends with codes.PermissionDenied, and the
// reason is found with [errors.Is]: [ErrNotAttested] or [ErrDemand]. A stream is
// judged when it begins.
func RequireServer(demands ...Demand) credentials.PerRPCCredentials {
	return &serverDemands{append([]Demand(nil), demands...)}
}

// serverDemands implements [credentials.PerRPCCredentials]: these are asked once
// gRPC has chosen the connection, which an interceptor does not know.
type serverDemands struct{ demands []Demand }

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (d *serverDemands) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	call, _ := credentials.RequestInfoFromContext(ctx)
	info, _ := call.AuthInfo.(AuthInfo)
	r, _ := info.Peer()
	if err := meets(r, d.demands); err != nil {
		return nil, &refusal{err}
	}
	return nil, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (*serverDemands) RequireTransportSecurity() bool { return true }
