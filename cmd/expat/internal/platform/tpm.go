package platform

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/tpm"
)

// DefaultTPM is the device of a Linux kernel that lets several programs use the TPM.
const DefaultTPM = "/dev/tpmrm0"

// ParseTPM reads the address of a TPM: unix:PATH, tcp:HOST:PORT, or the path of a
// device. The error wraps [tpm.ErrOptions].
func ParseTPM(address string) (tpm.Opener, error) {
	if strings.HasPrefix(address, "/") {
		address = "device:" + address
	}
	return tpm.Address(address)
}

// patience is how long a TPM may take to give its first answer. One in software takes
// connections while it serves another program, and says nothing.
const patience = 10 * time.Second

var errSilent = fmt.Errorf("it takes the connection and does not answer for %v", patience)

// OpenTPM opens the TPM at an address. The error wraps [ErrDevice].
func OpenTPM(ctx context.Context, address string) (*tpm.TPM, error) {
	opener, err := ParseTPM(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errSilent)
	defer cancel()
	t, err := tpm.Open(ctx, tpm.Options{Open: opener})
	switch {
	case errors.Is(err, fs.ErrNotExist) && address == DefaultTPM:
		return nil, fmt.Errorf("%w: open TPM: this machine has no %s; switch the TPM on in its firmware, or name another with --tpm", ErrDevice, address)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: open TPM: %w; may this user use it? on most systems that takes the group tss", ErrDevice, err)
	case errors.Is(err, errSilent):
		return nil, fmt.Errorf("%w: open TPM %s: %w; is another program using it? a TPM in software serves one at a time", ErrDevice, address, err)
	case err != nil:
		return nil, fmt.Errorf("%w: open TPM %s: %w; is it running there, and not in use by another program?", ErrDevice, address, err)
	}
	return t, nil
}

// attestTPM loads the keys of an enrolled TPM.
func attestTPM(ctx context.Context, o Options) (*Own, error) {
	d, err := loadTPM(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Own{Attester: d.attester, Certificate: d.certificate, close: d.tpm.Close}, nil
}

// device is an enrolled TPM at work.
type device struct {
	tpm         *tpm.TPM
	attester    attestation.Attester
	certificate tls.Certificate // its key is in the TPM
}

func loadTPM(ctx context.Context, o Options) (*device, error) {
	e, err := state.LoadTPM(o.State, o.Side)
	if err != nil {
		return nil, err
	}
	t, err := OpenTPM(ctx, o.TPM)
	if err != nil {
		return nil, err
	}
	d, err := newDevice(ctx, t, e)
	if err == nil {
		return d, nil
	}
	err = errors.Join(err, t.Close())
	if errors.Is(err, tpm.ErrKeyFile) {
		return nil, fmt.Errorf("%w: load keys of %s: %w; were they made in the TPM at %s? it is another, or was cleared: enrol it again",
			state.ErrState, state.TPMDir(o.State, o.Side), err, o.TPM)
	}
	return nil, fmt.Errorf("%w: load TPM keys: %w; enrol the TPM again", ErrDevice, err)
}

func newDevice(ctx context.Context, t *tpm.TPM, e *state.EnrolledTPM) (*device, error) {
	ak, err := t.LoadAK(ctx, e.AK, nil)
	if err != nil {
		return nil, err
	}
	key, err := t.LoadKey(ctx, e.Key, nil)
	if err != nil {
		return nil, err
	}
	attester, err := tpm.NewAttester(tpm.AttesterOptions{
		AK: ak, Chain: e.AKChain, Keys: []*tpm.Key{key}, PCRs: e.Reference.Selection(),
	})
	if err != nil {
		return nil, err
	}
	return &device{tpm: t, attester: attester, certificate: tls.Certificate{
		Certificate: [][]byte{e.Certificate.Raw}, PrivateKey: key, Leaf: e.Certificate,
	}}, nil
}
