package simulated

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/veraison/eat"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// DeviceOptions describe what a device reports about itself.
type DeviceOptions struct {
	// Instance is the ueid (RFC 9711, Section 4.2.1): a type byte and the
	// identifier. Nil: type RAND (0x01) and 16 random bytes.
	Instance []byte
	// HardwareModel is 1 to 32 bytes. Nil: not stated.
	HardwareModel []byte
	// SoftwareName and SoftwareVersion, at most 256 bytes each. A version needs
	// a name. Empty: not stated.
	SoftwareName, SoftwareVersion string
	// Measurements, at most 64, of different names, with the algorithms
	// sha-256, sha-384, sha-512 and their sha3 counterparts.
	Measurements []evidence.Measurement
	// Debug is the state of debug facilities. Zero: not stated.
	Debug evidence.DebugState
}

// ErrOptions: a device cannot be as its options say.
var ErrOptions = errors.New("simulated: device options are not usable")

// Device is one simulated environment with a certified signing key. It is safe
// for concurrent use.
type Device struct {
	report    claims // without what differs from one Binding to the next
	protected []byte // protected header of every token, encoded as bstr
	signer    cose.Signer

	mu   sync.Mutex
	keys map[string]struct{} // SubjectPublicKeyInfo of the keys born here
}

// NewDevice makes a device whose certificate is valid as long as the vendor's CA.
// The error wraps [ErrOptions] where the options are to blame.
func (v *Vendor) NewDevice(o DeviceOptions) (*Device, error) {
	if o.Instance == nil {
		o.Instance = make([]byte, 17)
		o.Instance[0] = eat.UEIDTypeRAND
		rand.Read(o.Instance[1:]) // never fails
	}
	report, err := v.report(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("simulated: device key: %w", err)
	}
	cert, err := issue(&x509.Certificate{
		// The Extractor compares the serialNumber attribute with the ueid, so
		// that a device cannot speak for another one.
		Subject:               pkix.Name{CommonName: "simulated TEE", SerialNumber: hex.EncodeToString(o.Instance)},
		NotBefore:             v.intermediate.NotBefore,
		NotAfter:              v.intermediate.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}, v.intermediate, &key.PublicKey, v.key)
	if err != nil {
		return nil, err
	}
	protected, err := protectedHeader(cert, v.intermediate)
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(cose.AlgorithmES256, key)
	if err != nil {
		return nil, fmt.Errorf("simulated: device key: %w", err)
	}
	return &Device{report: report, protected: protected, signer: signer, keys: make(map[string]struct{})}, nil
}

// report makes the claims that are the same in every token.
func (v *Vendor) report(o DeviceOptions) (claims, error) {
	c := claims{
		UEID:          bytes.Clone(o.Instance),
		OEMID:         v.OEMID(),
		HardwareModel: bytes.Clone(o.HardwareModel),
		Profile:       profile,
		SoftwareName:  o.SoftwareName,
		KeyHash:       make([]byte, crypto.SHA256.Size()),
		Provenance:    keyBornInside,
	}
	if o.SoftwareVersion != "" {
		c.Version = &eat.Version{Version: o.SoftwareVersion}
	}
	if o.Debug != evidence.DebugNotStated {
		wire := eat.Debug(o.Debug - evidence.DebugEnabled)
		c.Debug = &wire
	}
	if len(o.Measurements) > maxMeasurements {
		return c, fmt.Errorf("%d measurements, at most %d fit", len(o.Measurements), maxMeasurements)
	}
	var err error
	if c.Measurements, err = encodeMeasurements(o.Measurements); err != nil {
		return c, err
	}
	// What the Extractor would refuse is refused here.
	sample := c
	if err := sample.Nonce.Add(sample.KeyHash); err != nil {
		return c, err
	}
	encoded, err := detcbor.Encode(&sample)
	if err != nil {
		return c, err
	}
	_, _, err = decodeClaims(encoded)
	return c, err
}

// protectedHeader holds the algorithm and the chain. x5chain is protected so that
// every byte of a token is under the signature (RFC 9360, Section 2 permits it).
func protectedHeader(chain ...*x509.Certificate) ([]byte, error) {
	var certs [][]byte
	for _, c := range chain {
		certs = append(certs, c.Raw)
	}
	b, err := cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: cose.AlgorithmES256,
		cose.HeaderLabelX5Chain:   certs,
	}.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("simulated: protected header: %w", err)
	}
	return b, nil
}

// Instance is the device's ueid.
func (d *Device) Instance() []byte { return bytes.Clone(d.report.UEID) }

// GenerateKey makes a TLS key that is born in the device: it signs, and cannot be
// taken out. The device attests such keys and no other. Curves are P-256, P-384
// and P-521.
func (d *Device) GenerateKey(curve elliptic.Curve) (crypto.Signer, error) {
	if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, curve) {
		return nil, errors.New("simulated: generate key: curve is not P-256, P-384 or P-521")
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("simulated: generate key: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("simulated: generate key: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[string(spki)] = struct{}{}
	return insideKey{key}, nil
}

// born tells whether a key was generated in the device.
func (d *Device) born(spki []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.keys[string(spki)]
	return ok
}

// insideKey lets a key be used and not be read.
type insideKey struct{ key *ecdsa.PrivateKey }

func (k insideKey) Public() crypto.PublicKey { return k.key.Public() }

func (k insideKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.key.Sign(rand, digest, opts)
}
