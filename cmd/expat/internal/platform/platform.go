// Package platform makes the two halves of a side of expat serve and expat connect
// out of the name of a platform and a state directory: what proves what this side is,
// and what judges the other.
package platform

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
)

// The names of the platforms.
const (
	Simulated = "simulated"
	TPM       = "tpm"
	SEVSNP    = "sevsnp"
	TDX       = "tdx"
)

// ErrName: no platform has this name.
var ErrName = errors.New("is not known")

// ErrDevice: what the platform needs of this machine is not there.
var ErrDevice = errors.New("device")

// Names are those of all platforms.
func Names() []string { return []string{Simulated, TPM, SEVSNP, TDX} }

// Parse splits the name of a platform, or of several in one device: a+b. The TLS key
// of a composite device is in its TPM, so that one of several is tpm.
func Parse(name string) ([]string, error) {
	parts := strings.Split(name, "+")
	for i, part := range parts {
		switch {
		case !slices.Contains(Names(), part):
			return nil, fmt.Errorf("%q %w; it can be %s, or several such as simulated+tpm", part, ErrName, strings.Join(Names(), ", "))
		case slices.Contains(parts[:i], part):
			return nil, fmt.Errorf("%q names %s twice", name, part)
		}
	}
	if len(parts) > 1 && !slices.Contains(parts, TPM) {
		return nil, fmt.Errorf("%q has no tpm, which must hold the key of several platforms", name)
	}
	return parts, nil
}

// Options say which side of which connection attests.
type Options struct {
	State    string // state directory
	Platform string
	Side     state.Side
	TPM      string   // address of the TPM, see [OpenTPM]
	Names    []string // in the TLS certificate, where it is made now
	Lies     []simulated.Lie
	// LieAfter is how long after the first Evidence the lies begin; 0: with it. Then
	// Turned, if set, is told, and must return soon. A foreign key is there from the
	// start or not at all.
	LieAfter time.Duration
	Turned   func()
}

// Own is what a side shows: Close it when its last connection has ended.
type Own struct {
	Attester    attestation.Attester
	Certificate tls.Certificate
	// Renew issues another certificate for the same key. It is nil where the
	// certificate was there before, as that of a TPM is.
	Renew func(now time.Time) (tls.Certificate, error)
	close func() error
}

// issued is what a side shows whose certificates are issued here, for a key that was
// made now. The error of Renew wraps [state.ErrState].
func (o Options) issued(a attestation.Attester, key crypto.Signer) (*Own, error) {
	own := &Own{Attester: a, Renew: func(now time.Time) (tls.Certificate, error) {
		keys, err := state.LoadKeys(o.State, now)
		if err != nil {
			return tls.Certificate{}, err
		}
		return keys.CA.Leaf(key, usage(o.Side), now, o.Names...)
	}}
	var err error
	own.Certificate, err = own.Renew(time.Now())
	return own, err
}

// Close lets go of the device.
func (o *Own) Close() error {
	if o == nil || o.close == nil {
		return nil
	}
	return o.close()
}

// Attest makes what proves this side. The error wraps [state.ErrState], or
// [ErrDevice].
func Attest(ctx context.Context, o Options) (*Own, error) {
	switch o.Platform {
	case SEVSNP, TDX:
		return attestTEE(o)
	case Simulated:
		return attestSimulated(o)
	case TPM:
		return attestTPM(ctx, o)
	}
	parts, err := Parse(o.Platform)
	if err != nil {
		return nil, err
	}
	return attestComposite(ctx, o, parts)
}

// Judge makes what judges the other side, by the reference values of a state
// directory. The error wraps [state.ErrState].
func Judge(path, platform string, other state.Side) (attestation.Verifier, error) {
	now := time.Now()
	if parts, err := Parse(platform); err != nil || len(parts) > 1 {
		if err != nil {
			return nil, err
		}
		return judgeComposite(path, parts, other)
	}
	switch platform {
	case Simulated:
		trust, err := state.Load(path, now)
		if err != nil {
			return nil, err
		}
		e := &trust.Reference.Server
		if other == state.Client {
			e = &trust.Reference.Client
		}
		return e.Verifier(state.ReferenceFile+" "+string(other), trust.Evidence)
	case TPM:
		root, reference, err := state.LoadTPMReference(path, other, now)
		if err != nil {
			return nil, err
		}
		return reference.Verifier("tpm-"+string(other)+" reference", root)
	}
	return nil, fmt.Errorf("%w: there are no reference values for %q: this command judges simulated and tpm by --expect; judge others by a policy file, --policy FILE", state.ErrState, platform)
}
