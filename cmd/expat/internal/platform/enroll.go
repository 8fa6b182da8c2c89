package platform

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/evidence/tpm/enroll"
	"github.com/expat-go/expat/verifier/policy"
)

// tlsLife is how long the certificate of a TLS key in a TPM lasts: as long as that
// of its attestation key.
const tlsLife = 90 * 24 * time.Hour

// ErrEnroll: a TPM is not enrolled.
var ErrEnroll = errors.New("tpm enroll")

// ErrNotTrusted: the TPM's maker is none that was named, or it did not prove itself.
var ErrNotTrusted = errors.New("the TPM is not trusted")

// EnrollOptions say which TPM is enrolled for which side.
type EnrollOptions struct {
	State                    string
	TPM                      string
	Side                     state.Side
	EKRoots, EKIntermediates []*x509.Certificate
	PCRs                     []int
	Names                    []string
}

// Enrolled is what enrolment found, for people.
type Enrolled struct {
	Side     state.Side  `json:"side"`
	Dir      string      `json:"dir"`
	Instance string      `json:"instance"` // hex
	Firmware string      `json:"firmware"`
	Names    []string    `json:"names"`
	PCRs     []state.PCR `json:"pcrs"`
}

// Enroll makes an attestation key and a TLS key in a TPM, has both certified by the
// CAs of the state directory, and takes the PCRs of this moment as reference values.
// The error wraps [ErrEnroll] and names the step.
func Enroll(ctx context.Context, o EnrollOptions) (*Enrolled, error) {
	e, err := enrol(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnroll, err)
	}
	return &Enrolled{
		Side: o.Side, Dir: state.TPMDir(o.State, o.Side), Instance: hex.EncodeToString(e.Reference.Instance),
		Firmware: e.Reference.Firmware, Names: o.Names, PCRs: e.Reference.PCRs,
	}, nil
}

func enrol(ctx context.Context, o EnrollOptions) (*state.EnrolledTPM, error) {
	now := time.Now()
	trust, keys, err := state.Create(o.State, now)
	if err != nil {
		return nil, err
	}
	akCA, err := state.AKCA(o.State, now)
	if err != nil {
		return nil, err
	}
	ca, err := enroll.NewCA(enroll.Options{
		Authority: akCA, EKRoots: pool(o.EKRoots), EKIntermediates: pool(o.EKIntermediates),
		AnyTPM: true, // the one that --tpm names
	})
	if err != nil {
		return nil, err
	}
	e, err := withTPM(ctx, o.TPM, func(t *tpm.TPM) (*state.EnrolledTPM, error) {
		return certify(ctx, t, ca, keys.CA.Authority(), o.Names)
	})
	if err != nil {
		return nil, err
	}
	e.Reference = state.NewTPMReference(nil, "", nil)
	for _, i := range o.PCRs {
		e.Reference.PCRs = append(e.Reference.PCRs, state.PCR{Index: i})
	}
	// Opened anew: the keys come from their files, as they do from now on.
	claims, err := withTPM(ctx, o.TPM, func(t *tpm.TPM) (*evidence.Claims, error) {
		return trial(ctx, t, e, trust.Roots(), akCA.Pool(), o.Names[0])
	})
	if err != nil {
		return nil, fmt.Errorf("attest to itself: %w; the TPM cannot do what expat needs", err)
	}
	if err := fill(e.Reference, claims); err != nil {
		return nil, err
	}
	if e.Policy, err = tpmPolicy(o.Side, e.Reference.Comment, claims); err != nil {
		return nil, err
	}
	return e, state.SaveTPM(o.State, o.Side, e)
}

// tpmPolicy is the policy file by which the other side judges a TPM.
func tpmPolicy(side state.Side, comment string, claims *evidence.Claims) ([]byte, error) {
	d := policy.Draft{
		Name: "test-tpm-" + string(side), Comment: []string{comment}, Confirmed: true,
		Environments: []policy.DraftEnvironment{{
			Platform: TPM, Root: policy.DraftRoot{File: filepath.Join("..", state.AKCADir, "ca.pem")},
			Observed: []policy.Observation{{Source: "enrolment", Claims: claims}},
		}},
	}
	return d.Marshal()
}

// withTPM opens a TPM for one function.
func withTPM[T any](ctx context.Context, address string, f func(*tpm.TPM) (T, error)) (T, error) {
	t, err := OpenTPM(ctx, address)
	if err != nil {
		var none T
		return none, err
	}
	v, err := f(t)
	return v, errors.Join(err, t.Close())
}

// certify makes the two keys and obtains their certificates.
func certify(ctx context.Context, t *tpm.TPM, ca *enroll.CA, tlsCA *enroll.Authority, names []string) (*state.EnrolledTPM, error) {
	ak, err := t.CreateAK(ctx, tpm.KeyOptions{})
	if err != nil {
		return nil, fmt.Errorf("make attestation key: %w", err)
	}
	chain, err := enroll.Run(ctx, t, ak, ca)
	switch {
	case errors.Is(err, enroll.ErrEKCertificate):
		return nil, fmt.Errorf("activate credential: %w: %w; give the roots of its maker with --ek-root, and the CAs between with --ek-intermediate", ErrNotTrusted, err)
	case errors.Is(err, enroll.ErrAK), errors.Is(err, enroll.ErrAnswer):
		return nil, fmt.Errorf("activate credential: %w: %w", ErrNotTrusted, err)
	case err != nil:
		return nil, fmt.Errorf("activate credential: %w", err)
	}
	key, err := t.CreateKey(ctx, tpm.KeyOptions{})
	if err != nil {
		return nil, fmt.Errorf("make TLS key: %w", err)
	}
	request, err := enroll.NewKeyRequest(ctx, t, ak, chain[0], key)
	if err != nil {
		return nil, fmt.Errorf("certify TLS key: %w", err)
	}
	certs, err := ca.IssueTLS(tlsCA, request, tlsLife, names...)
	if err != nil {
		return nil, fmt.Errorf("certify TLS key: %w", err)
	}
	e := &state.EnrolledTPM{AKChain: chain[:1], Certificate: certs[0]}
	if e.AK, err = ak.MarshalPEM(); err != nil {
		return nil, err
	}
	e.Key, err = key.MarshalPEM()
	return e, err
}

// trial has the TPM attest on a connection within this process, and returns what
// it says.
func trial(ctx context.Context, t *tpm.TPM, e *state.EnrolledTPM, roots, akRoots *x509.CertPool, name string) (*evidence.Claims, error) {
	d, err := newDevice(ctx, t, e)
	if err != nil {
		return nil, err
	}
	a, b := net.Pipe()
	server := expat.Server(a, &expat.Config{TLS: &tls.Config{Certificates: []tls.Certificate{d.certificate}}, Attester: d.attester})
	witness := &witness{roots: akRoots}
	client := expat.Client(b, &expat.Config{TLS: &tls.Config{RootCAs: roots, ServerName: name}, Verifier: witness})
	ended := make(chan error, 1)
	go func() { ended <- server.HandshakeContext(ctx) }()
	err = client.HandshakeContext(ctx)
	_ = b.Close()
	if other := <-ended; err == nil {
		err = other
	}
	_ = a.Close()
	return witness.claims, err
}

// witness accepts what the TPM signed for this connection, whatever the PCRs are: it
// is how reference values come to be.
type witness struct {
	roots  *x509.CertPool
	claims *evidence.Claims
}

func (*witness) MediaTypes() []string { return []string{tpm.MediaType} }

func (w *witness) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	leaf := m.Leaves()[0]
	claims, err := tpm.Extractor{}.Extract(ctx, leaf.MediaType, leaf.Value, w.roots, time.Now())
	if err == nil {
		err = claims.Bound(b)
	}
	if err == nil && claims.Key != evidence.KeyBornInside {
		err = fmt.Errorf("the TLS key is %v", claims.Key)
	}
	if err != nil {
		return nil, attestation.Reject(err)
	}
	w.claims = claims
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: "enrolment", Lifetime: attestation.ConnectionLifetime,
		Appraisals: []attestation.Appraisal{{Environment: tpm.Platform, Status: attestation.TierAffirming, Policy: "enrolment"}},
	})
}

// fill takes what the TPM said as reference values.
func fill(r *state.TPMReference, c *evidence.Claims) error {
	r.Instance = c.Instance
	for _, s := range c.Software {
		if s.Name == tpm.Firmware {
			r.Firmware = s.Version
		}
	}
	values := make(map[string][]byte, len(c.Measurements))
	for _, m := range c.Measurements {
		values[m.Name] = m.Digest
	}
	for i := range r.PCRs {
		p := &r.PCRs[i]
		p.SHA256 = values[fmt.Sprintf("pcr:sha256:%d", p.Index)]
		if p.SHA256 == nil {
			return fmt.Errorf("read PCRs: the TPM quoted no PCR %d of bank SHA-256", p.Index)
		}
	}
	return nil
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// ParsePCRs reads a list such as 0,1,7, and returns it in ascending order.
func ParsePCRs(list []int) ([]int, error) {
	seen := make([]bool, 24)
	for _, i := range list {
		if i < 0 || i >= len(seen) {
			return nil, fmt.Errorf("PCR %d is not 0 to %d", i, len(seen)-1)
		}
		seen[i] = true
	}
	var out []int
	for i, ok := range seen {
		if ok {
			out = append(out, i)
		}
	}
	if out == nil {
		return nil, errors.New("there is no PCR to quote")
	}
	return out, nil
}

// PCRNames are PCRs in words.
func PCRNames(pcrs []state.PCR) string {
	var out []string
	for _, p := range pcrs {
		out = append(out, fmt.Sprint(p.Index))
	}
	return strings.Join(out, ", ")
}
