package cli

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
)

// sideFlags are what serve and connect have in common.
type sideFlags struct {
	state    string
	attester string
	lie      string
	json     bool
}

func (f *sideFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "`DIR` of test keys, roots and reference values (required)")
	flags.StringVar(&f.attester, "attester", "", "prove what this side is; `PLATFORM` is simulated")
	flags.StringVar(&f.lie, "lie", "", "have the attester tell a `LIE`, to see the other side refuse:\n"+lieNames())
}

// check finds flags that cannot be meant.
func (f *sideFlags) check() error {
	switch {
	case f.state == "":
		return fmt.Errorf("--state DIR is required")
	case f.attester != "" && f.attester != "simulated":
		return fmt.Errorf("--attester %q is not known; it can be simulated", f.attester)
	case f.lie != "" && f.attester == "":
		return fmt.Errorf("--lie needs --attester simulated: somebody has to tell it")
	}
	_, err := f.lies()
	return err
}

// lies parses --lie.
func (f *sideFlags) lies() ([]simulated.Lie, error) {
	if f.lie == "" {
		return nil, nil
	}
	for l := firstLie; l <= lastLie; l++ {
		if l.String() == f.lie {
			return []simulated.Lie{l}, nil
		}
	}
	return nil, fmt.Errorf("--lie %q is not known; it can be one of %s", f.lie, lieNames())
}

const firstLie, lastLie = simulated.WrongNonce, simulated.TamperedClaims

func lieNames() string {
	var names []string
	for l := firstLie; l <= lastLie; l++ {
		names = append(names, l.String())
	}
	return strings.Join(names, ", ")
}

// attest makes the device that the reference values describe, a key in it, and a
// certificate for that key.
func (f *sideFlags) attest(keys *state.Keys, e *state.Environment, usage x509.ExtKeyUsage, names ...string) (attestation.Attester, tls.Certificate, error) {
	var none tls.Certificate
	lies, err := f.lies()
	if err != nil {
		return nil, none, err
	}
	device, err := e.Device(keys.Vendor)
	if err != nil {
		return nil, none, err
	}
	var key crypto.Signer
	if f.lie == simulated.ForeignKey.String() {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = device.GenerateKey(elliptic.P256())
	}
	if err != nil {
		return nil, none, err
	}
	cert, err := keys.CA.Leaf(key, usage, time.Now(), names...)
	return simulated.NewAttester(device, lies...), cert, err
}
