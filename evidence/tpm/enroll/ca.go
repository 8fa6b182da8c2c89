package enroll

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/tpm"
)

// Request asks for a certificate for an attestation key.
type Request struct {
	EKCertificate []byte `json:"ek_certificate"` // DER
	AK            []byte `json:"ak"`             // TPMT_PUBLIC
}

// Challenge is a secret that only the TPM of the request can open.
type Challenge struct {
	ID         string `json:"id"`
	Credential []byte `json:"credential"` // contents of TPM2B_ID_OBJECT
	Secret     []byte `json:"secret"`     // contents of TPM2B_ENCRYPTED_SECRET
}

// Answer returns the secret of a challenge.
type Answer struct {
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
}

// Certificate is the chain for an attestation key, its own certificate first.
type Certificate struct {
	Chain [][]byte `json:"chain"` // DER
}

// Options describe a [CA].
type Options struct {
	// Authority signs the certificates of attestation keys. Required; its
	// certificate is what a verifier's policy names as root, and must not be a
	// root for TLS.
	Authority *Authority
	// EKRoots are the roots of the TPM manufacturers that are trusted, and
	// EKIntermediates the CAs between: TPMs carry only the last certificate.
	// Roots are required.
	EKRoots, EKIntermediates *x509.CertPool
	// Lifetime of the certificates; zero: 90 days.
	Lifetime time.Duration
	// Admit says whether this one TPM may be enrolled; instance is the SHA-256 of
	// its endorsement key's SubjectPublicKeyInfo. Either Admit or AnyTPM is
	// required.
	Admit func(instance []byte) error
	// AnyTPM enrols every TPM of the manufacturers: also one that an attacker
	// has bought.
	AnyTPM bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Limits on challenges that wait for their answer.
const (
	maxPending  = 1024
	pendingLife = 5 * time.Minute
	secretSize  = 32 // bytes
	defaultLife = 90 * 24 * time.Hour
)

// CA certifies attestation keys. It is safe for concurrent use. Challenges are in
// memory: an answer must reach the CA that made the challenge.
type CA struct {
	options Options

	mu      sync.Mutex
	pending map[string]*pending
}

// pending is a challenge without an answer yet.
type pending struct {
	secret [secretSize]byte
	ak     *tpm.AKInfo
	ek     *x509.Certificate
	until  time.Time
}

// Issuer is a CA as the device sees it, here or behind a network.
type Issuer interface {
	Challenge(ctx context.Context, r *Request) (*Challenge, error)
	Issue(ctx context.Context, a *Answer) (*Certificate, error)
}

var _ Issuer = (*CA)(nil)

// NewCA makes a CA.
func NewCA(o Options) (*CA, error) {
	if o.Authority == nil || o.Authority.Certificate == nil || o.Authority.Key == nil {
		return nil, errors.New("enroll: set Authority")
	}
	if err := evidence.CheckRoots(o.EKRoots); err != nil {
		return nil, fmt.Errorf("enroll: set EKRoots: %w", err)
	}
	if (o.Admit == nil) != o.AnyTPM {
		return nil, errors.New("enroll: set either Admit or AnyTPM")
	}
	if o.Lifetime < 0 {
		return nil, errors.New("enroll: Lifetime is negative")
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLife
	}
	if o.EKIntermediates == nil {
		o.EKIntermediates = x509.NewCertPool()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.EKRoots, o.EKIntermediates = o.EKRoots.Clone(), o.EKIntermediates.Clone()
	return &CA{options: o, pending: make(map[string]*pending)}, nil
}

// instance identifies a TPM by its endorsement key.
func instance(ek *x509.Certificate) []byte {
	sum := sha256.Sum256(ek.RawSubjectPublicKeyInfo)
	return sum[:]
}

// Challenge checks both keys and encrypts a secret to them. Errors: [ErrRequest],
// [ErrEKCertificate], [ErrAK], [ErrBusy], or that of Admit.
func (c *CA) Challenge(ctx context.Context, r *Request) (*Challenge, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if r == nil {
		return nil, fmt.Errorf("%w: there is none", ErrRequest)
	}
	now := c.options.Now()
	ek, err := c.verifyEK(r.EKCertificate, now)
	if err != nil {
		return nil, err
	}
	ak, err := tpm.CheckAK(r.AK)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAK, err)
	}
	if !c.options.AnyTPM {
		if err := c.options.Admit(instance(ek)); err != nil {
			return nil, fmt.Errorf("enroll: this TPM is not admitted: %w", err)
		}
	}
	p := &pending{ak: ak, ek: ek, until: now.Add(pendingLife)}
	rand.Read(p.secret[:]) // never fails
	challenge, err := p.encrypt()
	if err != nil {
		return nil, err
	}
	return challenge, c.wait(challenge.ID, p, now)
}

// encrypt makes the credential (MakeCredential) for the attestation key's Name.
func (p *pending) encrypt() (*Challenge, error) {
	area, err := tpm.EKPublicArea(p.ek.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEKCertificate, err)
	}
	encapsulation, err := tpm2.ImportEncapsulationKey(area)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEKCertificate, err)
	}
	credential, secret, err := tpm2.CreateCredential(rand.Reader, encapsulation, p.ak.Name, p.secret[:])
	if err != nil {
		return nil, fmt.Errorf("enroll: make credential: %w", err)
	}
	return &Challenge{ID: rand.Text(), Credential: credential, Secret: secret}, nil
}

// wait remembers a challenge, and forgets those that are too old.
func (c *CA) wait(id string, p *pending, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, old := range c.pending {
		if now.After(old.until) {
			delete(c.pending, other)
		}
	}
	if len(c.pending) >= maxPending {
		return fmt.Errorf("%w: %d", ErrBusy, maxPending)
	}
	c.pending[id] = p
	return nil
}

// Issue certifies the attestation key of a challenge. A challenge takes one answer.
// The error wraps [ErrAnswer].
func (c *CA) Issue(ctx context.Context, a *Answer) (*Certificate, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if a == nil {
		return nil, fmt.Errorf("%w: there is none", ErrRequest)
	}
	c.mu.Lock()
	p := c.pending[a.ID]
	delete(c.pending, a.ID)
	c.mu.Unlock()
	now := c.options.Now()
	if p == nil || now.After(p.until) || subtle.ConstantTimeCompare(p.secret[:], a.Secret) != 1 {
		return nil, ErrAnswer
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "TPM attestation key", SerialNumber: hex.EncodeToString(instance(p.ek))},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(c.options.Lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{tpm.OIDAKCertificate},
		SubjectKeyId:          p.ak.Name, // certifies the key's attributes too
		BasicConstraintsValid: true,
	}
	for _, ext := range p.ek.Extensions { // manufacturer, model and version of the TPM
		if ext.Id.Equal(tpm.OIDSubjectAltName) {
			template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: ext.Id, Value: ext.Value})
		}
	}
	cert, err := c.options.Authority.issue(template, p.ak.Public)
	if err != nil {
		return nil, err
	}
	return &Certificate{Chain: [][]byte{cert.Raw, c.options.Authority.Certificate.Raw}}, nil
}
