package state

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/evidence/tpm/enroll"
	"github.com/expat-go/expat/verifier"
)

// AKCADir is the directory of the CA that certifies attestation keys. It is made at
// the first enrolment, and is another CA than that of TLS certificates.
const AKCADir = "tpm-ak-ca"

// The files of an enrolled TPM, in a directory for each side. The keys are encrypted
// by the TPM and worthless without it.
const (
	tpmAKFile        = "ak.pem"
	tpmAKChainFile   = "ak-chain.pem"
	tpmKeyFile       = "tls-key.pem"
	tpmCertFile      = "tls-cert.pem"
	tpmReferenceFile = "reference.json"
	tpmPolicyFile    = "policy.yaml"
)

const tpmReferenceComment = "TEST reference values of expat: the PCRs of this TPM at its enrolment, whatever ran then. They are as good as the machine was at that moment."

// Side is a part in a connection.
type Side string

// The sides.
const (
	Server Side = "server"
	Client Side = "client"
)

// TPMDir is the directory of a side's TPM in a state directory.
func TPMDir(path string, side Side) string { return filepath.Join(path, "tpm-"+string(side)) }

// TPMReferencePath is the file of reference values for a side's TPM.
func TPMReferencePath(path string, side Side) string {
	return filepath.Join(TPMDir(path, side), tpmReferenceFile)
}

// EnrolledTPM is what enrolment leaves: how a side uses its TPM, and what the other
// must know to judge it.
type EnrolledTPM struct {
	AK, Key     []byte              // key files, see [tpm.AK.MarshalPEM]
	AKChain     []*x509.Certificate // attestation key first
	Certificate *x509.Certificate   // of the TLS key
	Reference   *TPMReference
	Policy      []byte // says what Reference does; written, and read by who judges
}

// TPMReference holds the reference values for one TPM.
type TPMReference struct {
	Comment  string   `json:"comment"`
	Instance hexBytes `json:"instance"` // SHA-256 of the endorsement key's SubjectPublicKeyInfo
	Firmware string   `json:"firmware"` // the lowest good version of the TPM's own
	PCRs     []PCR    `json:"pcrs"`
}

// PCR is the good value of one PCR of the SHA-256 bank.
type PCR struct {
	Index  int      `json:"pcr"`
	SHA256 hexBytes `json:"sha256"`
}

// NewTPMReference makes reference values of what a TPM says of itself.
func NewTPMReference(instance []byte, firmware string, pcrs []PCR) *TPMReference {
	return &TPMReference{Comment: tpmReferenceComment, Instance: instance, Firmware: firmware, PCRs: pcrs}
}

// Selection are the PCRs that a side quotes, and the other expects.
func (r *TPMReference) Selection() tpm.Selection {
	var s tpm.Selection
	for _, p := range r.PCRs {
		s.PCRs = append(s.PCRs, p.Index)
	}
	return s
}

// Verifier appraises a peer's TPM by the reference values.
func (r *TPMReference) Verifier(name string, root *x509.Certificate) (*verifier.Appraiser, error) {
	p := verifier.Policy{
		Name: name, Roots: pool(root), Measurements: make(map[string][][]byte), Instances: [][]byte{r.Instance},
		MinVersions:              map[string]string{tpm.Firmware: r.Firmware},
		AllowDebugLeftToSoftware: true, // the PCRs are pinned
	}
	for _, pcr := range r.PCRs {
		p.Measurements[fmt.Sprintf("pcr:sha256:%d", pcr.Index)] = [][]byte{pcr.SHA256}
	}
	return verifier.New(p, tpm.Extractor{Chains: new(evidence.Chains)})
}

func (r *TPMReference) check() error {
	if len(r.Instance) != sha256.Size || len(r.PCRs) == 0 {
		return errors.New("instance must have 32 bytes, and pcrs must not be empty")
	}
	if _, err := verifier.CompareVersions(r.Firmware, r.Firmware); err != nil {
		return fmt.Errorf("firmware: %w", err)
	}
	last := -1
	for _, p := range r.PCRs {
		if p.Index <= last || p.Index > 23 || len(p.SHA256) != sha256.Size {
			return fmt.Errorf("pcr %d must be 0 to 23 in ascending order, with 32 bytes of sha256", p.Index)
		}
		last = p.Index
	}
	return nil
}

func parseTPMReference(b []byte) (*TPMReference, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	r := new(TPMReference)
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows the object")
	}
	return r, r.check()
}

// AKCA opens the CA for attestation keys; if there is none it is made. The error
// wraps [ErrState].
func AKCA(path string, now time.Time) (*enroll.Authority, error) {
	where := filepath.Join(path, AKCADir)
	a, err := enroll.LoadAuthority(where)
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = enroll.NewAuthority("expat test CA for TPM attestation keys", now); err == nil {
			err = a.Save(where)
		}
	}
	if err == nil {
		err = current(a.Certificate, now)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be used: %w; remove it, enrol the TPMs again, and they get new certificates", ErrState, where, err)
	}
	return a, nil
}

// SaveTPM keeps an enrolled TPM: the whole, or nothing. The error wraps [ErrState]
// also where that side has one.
func SaveTPM(path string, side Side, e *EnrolledTPM) (err error) {
	reference, err := json.MarshalIndent(e.Reference, "", "  ")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w; is %s enrolled already? remove it to enrol again", ErrState, err, TPMDir(path, side))
		}
	}()
	temp, err := os.MkdirTemp(path, ".tpm-*") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	for _, f := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{
		{tpmAKFile, e.AK, modeKeys}, {tpmKeyFile, e.Key, modeKeys},
		{tpmAKChainFile, encodeChain(e.AKChain), modePublic},
		{tpmCertFile, encodeChain([]*x509.Certificate{e.Certificate}), modePublic},
		{tpmReferenceFile, append(reference, '\n'), modePublic},
		{tpmPolicyFile, e.Policy, modePublic},
	} {
		if err := dir(temp).create(f.name, f.content, f.mode); err != nil {
			return err
		}
	}
	return os.Rename(temp, TPMDir(path, side))
}

// LoadTPM reads what [SaveTPM] wrote. The error wraps [ErrState].
func LoadTPM(path string, side Side) (*EnrolledTPM, error) {
	e := new(EnrolledTPM)
	return e, loadTPM(path, side, map[string]func([]byte) error{
		tpmAKFile:        func(b []byte) error { e.AK = b; return nil },
		tpmKeyFile:       func(b []byte) error { e.Key = b; return nil },
		tpmAKChainFile:   func(b []byte) (err error) { e.AKChain, err = ParseCertificates(b); return err },
		tpmCertFile:      func(b []byte) (err error) { e.Certificate, err = parseRoot(b); return err },
		tpmReferenceFile: func(b []byte) (err error) { e.Reference, err = parseTPMReference(b); return err },
	})
}

// LoadTPMReference reads what a side must know to judge the other's TPM: the root of
// attestation keys, and reference values. The error wraps [ErrState].
func LoadTPMReference(path string, side Side, now time.Time) (root *x509.Certificate, r *TPMReference, err error) {
	err = loadTPM(path, side, map[string]func([]byte) error{
		tpmReferenceFile: func(b []byte) (err error) { r, err = parseTPMReference(b); return err },
		filepath.Join("..", AKCADir, "ca.pem"): func(b []byte) (err error) {
			root, err = currentRoot(b, now)
			return err
		},
	})
	return root, r, err
}

func loadTPM(path string, side Side, files map[string]func([]byte) error) error {
	where := dir(TPMDir(path, side))
	for name, parse := range files {
		b, err := where.read(name)
		if err == nil {
			err = parse(b)
		}
		switch full := filepath.Join(string(where), name); {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %s is missing; run expat tpm enroll --state %s --side %s", ErrState, full, path, side)
		case err != nil:
			return fmt.Errorf("%w: %s cannot be used: %w; remove %s and run expat tpm enroll again", ErrState, full, err, string(where))
		}
	}
	return nil
}

func encodeChain(chain []*x509.Certificate) []byte {
	var out []byte
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})...)
	}
	return out
}

// maxCertificates is how many certificates one file may hold.
const maxCertificates = 64

// ParseCertificates reads one or more certificates in PEM.
func ParseCertificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(bytes.TrimSpace(b)) != 0 {
		block, rest := pem.Decode(b)
		if block == nil || block.Type != pemCertificate || len(out) == maxCertificates {
			return nil, fmt.Errorf("not 1 to %d certificates in PEM", maxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, b = append(out, c), rest
	}
	if out == nil {
		return nil, errors.New("it holds no certificate")
	}
	return out, nil
}

// ReadCertificates reads a file of certificates in PEM, at most 64 KiB.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	b, err := dir(filepath.Dir(path)).read(filepath.Base(path))
	if err == nil {
		var certs []*x509.Certificate
		if certs, err = ParseCertificates(b); err == nil {
			return certs, nil
		}
	}
	return nil, fmt.Errorf("%s cannot be used: %w; give a file of certificates in PEM", path, err)
}

// Authority is the CA in the form that enrolment takes.
func (ca *CA) Authority() *enroll.Authority {
	return &enroll.Authority{Certificate: ca.root, Key: ca.key}
}
