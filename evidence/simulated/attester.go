package simulated

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/veraison/eat"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/detcbor"
)

// ErrKeyNotBorn: the key to attest was not generated in the device. Take the key
// of the certificate from [Device.GenerateKey].
var ErrKeyNotBorn = errors.New("simulated: the key was not generated in this device")

// Lie is one way in which an [Attester] misbehaves. Devices that are revoked or
// unknown need no lie: a policy says so.
type Lie uint8

const (
	// WrongNonce: the Evidence carries another binder, as if made for another
	// connection.
	WrongNonce Lie = iota + 1
	// WrongKey: the Evidence names another key.
	WrongKey
	// DebugOn: debug facilities are enabled.
	DebugOn
	// OldFirmware: the software is version 0.0.1, and the first measurement is
	// another.
	OldFirmware
	// ModifiedSoftware: the first measurement is another.
	ModifiedSoftware
	// ForeignKey: the device attests a key that was not generated in it. It
	// still reports where the key is from; a device that lies about that too
	// cannot be told from a good one.
	ForeignKey
	// TamperedClaims: the claims were changed after they were signed.
	TamperedClaims
)

var lies = map[Lie]string{
	WrongNonce: "wrong-nonce", WrongKey: "wrong-key", DebugOn: "debug-on", OldFirmware: "old-firmware",
	ModifiedSoftware: "modified-software", ForeignKey: "foreign-key", TamperedClaims: "tampered-claims",
}

func (l Lie) String() string {
	if name, ok := lies[l]; ok {
		return name
	}
	return fmt.Sprintf("lie %d", uint8(l))
}

// Attester answers a Binding with Evidence about one device.
type Attester struct {
	device    *Device
	lies      []Lie
	elsewhere bool // name keys held elsewhere
}

var _ attestation.Attester = (*Attester)(nil)

// NewAttester makes an Attester for a device. With lies it is for tests of
// relying parties.
func NewAttester(d *Device, lies ...Lie) *Attester {
	return &Attester{device: d, lies: slices.Clone(lies)}
}

// AcceptKeysHeldElsewhere returns an Attester that also attests keys which the device
// did not generate, such as one in the TPM of the same machine. What is lost is that
// the device protects such a key: its Evidence says only that the software inside
// named the key, [evidence.KeyNamedBySoftware]. Something else has to say who holds it.
func (a *Attester) AcceptKeysHeldElsewhere() *Attester {
	return &Attester{device: a.device, lies: a.lies, elsewhere: true}
}

// MediaTypes holds [MediaType].
func (a *Attester) MediaTypes() []string { return []string{MediaType} }

func (a *Attester) lying(l Lie) bool { return slices.Contains(a.lies, l) }

// Attest signs Evidence for b. The error wraps [ErrKeyNotBorn] for a key that the
// device did not generate, unless that is accepted, and [attestation.ErrMediaType] if [MediaType] is not
// among those accepted.
func (a *Attester) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(attestation.Common(a.MediaTypes(), accept)) == 0 {
		return nil, fmt.Errorf("simulated: %w", attestation.ErrMediaType)
	}
	born := a.device.born(b.SPKI())
	c := a.device.report
	c.KeyHash = b.KeyHash()
	switch {
	case born:
	case a.lying(ForeignKey):
		c.Provenance = keyExternal
	case a.elsewhere:
		c.Provenance = keyNamedBySoftware
	default:
		return nil, ErrKeyNotBorn
	}
	nonce := b.Binder()
	if a.lying(WrongNonce) {
		nonce = other(nonce)
	}
	if err := c.Nonce.Add(nonce); err != nil {
		return nil, fmt.Errorf("simulated: eat_nonce: %w", err)
	}
	if err := a.falsify(&c); err != nil {
		return nil, err
	}
	token, err := a.sign(&c)
	if err != nil {
		return nil, err
	}
	return cmw.NewRecord(MediaType, token, cmw.Evidence)
}

// falsify changes the claims as the lies say.
func (a *Attester) falsify(c *claims) error {
	if a.lying(WrongKey) {
		c.KeyHash = other(c.KeyHash)
	}
	if a.lying(DebugOn) {
		on := eat.Debug(eat.DebugNotDisabled)
		c.Debug = &on
	}
	if a.lying(OldFirmware) && c.SoftwareName != "" {
		c.Version = &eat.Version{Version: "0.0.1"}
	}
	if (a.lying(OldFirmware) || a.lying(ModifiedSoftware)) && len(c.Measurements) > 0 {
		measured, err := decodeMeasurements(c.Measurements[:1])
		if err != nil {
			return err
		}
		measured[0].Digest = other(measured[0].Digest)
		first, err := encodeMeasurements(measured)
		if err != nil {
			return err
		}
		c.Measurements = append(first, c.Measurements[1:]...)
	}
	return nil
}

func other(b []byte) []byte {
	b = bytes.Clone(b)
	b[0] ^= 1
	return b
}

// sign makes a COSE_Sign1 with tag 18, without a CWT tag (61) around it: the
// media type says already that it is a CWT, and one form is enough.
func (a *Attester) sign(c *claims) ([]byte, error) {
	payload, err := detcbor.Encode(c)
	if err != nil {
		return nil, fmt.Errorf("simulated: claims: %w", err)
	}
	m := cose.Sign1Message{
		Headers: cose.Headers{
			RawProtected: a.device.protected,
			Protected:    cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES256},
		},
		Payload: payload,
	}
	if err := m.Sign(rand.Reader, nil, a.device.signer); err != nil {
		return nil, fmt.Errorf("simulated: sign: %w", err)
	}
	if a.lying(TamperedClaims) {
		// The last byte is in the key provenance, which becomes "external".
		m.Payload = bytes.Clone(m.Payload)
		m.Payload[len(m.Payload)-1] ^= keyBornInside ^ keyExternal
	}
	token, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("simulated: encode: %w", err)
	}
	return token, nil
}
