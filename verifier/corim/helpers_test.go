package corim_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
	made "github.com/veraison/corim/corim"
	"github.com/veraison/go-cose"
	"github.com/veraison/swid"

	"github.com/expat-go/expat/verifier/corim"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

const profile = "https://vendor.example/profiles/firmware"

func digest(seed string) []byte {
	d := sha256.Sum256([]byte(seed))
	return d[:]
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func keyID(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return digest(string(spki))
}

func options(keys ...crypto.PublicKey) corim.Options {
	return corim.Options{Keys: keys, Profiles: []string{profile}, Now: clock}
}

// m is a CBOR map by integer keys, as CoRIM has them.
type m map[int]any

func encode(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	require.NoError(t, err)
	b, err := mode.Marshal(v)
	require.NoError(t, err)
	return b
}

func at(when time.Time) cbor.Tag { return cbor.Tag{Number: 1, Content: when.Unix()} }

// draft is a CoRIM in parts, each of which a test can replace.
type draft struct {
	manifest, comid, class, environment, measurement, values m
	triples, triple, measurements                            any // nil: made of the above
	meta                                                     m
	protected                                                cose.ProtectedHeader
	unprotected                                              cose.UnprotectedHeader
}

func newDraft() *draft {
	return &draft{
		manifest:    m{0: "corim-1", 3: cbor.Tag{Number: 32, Content: profile}},
		comid:       m{1: m{0: "comid-1", 1: 2}},
		environment: m{},
		class:       m{1: "ACME", 2: "Milan"},
		measurement: m{0: "launch"},
		values:      m{2: []any{[]any{1, digest("good")}}},
		meta:        m{0: m{0: "signer", 1: cbor.Tag{Number: 32, Content: "https://vendor.example"}}},
		protected:   cose.ProtectedHeader{},
	}
}

// payload assembles the tagged corim-map.
func (d *draft) payload(t testing.TB) []byte {
	if d.values != nil {
		d.measurement[1] = d.values
	}
	if d.measurements == nil {
		d.measurements = []any{d.measurement}
	}
	if d.class != nil {
		d.environment[0] = d.class
	}
	if d.triple == nil {
		d.triple = []any{d.environment, d.measurements}
	}
	if d.triples == nil {
		d.triples = m{0: []any{d.triple}}
	}
	if _, own := d.comid[4]; !own {
		d.comid[4] = d.triples
	}
	if _, own := d.manifest[1]; !own {
		d.manifest[1] = []any{cbor.Tag{Number: 506, Content: encode(t, d.comid)}}
	}
	return encode(t, cbor.Tag{Number: 501, Content: d.manifest})
}

// sign makes the COSE_Sign1.
func (d *draft) sign(t testing.TB, alg cose.Algorithm, key crypto.Signer) []byte {
	return d.signPayload(t, alg, key, d.payload(t))
}

func (d *draft) signPayload(t testing.TB, alg cose.Algorithm, key crypto.Signer, payload []byte) []byte {
	t.Helper()
	signer, err := cose.NewSigner(alg, key)
	require.NoError(t, err)
	header := cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: alg, cose.HeaderLabelContentType: "application/rim+cbor", int64(8): encode(t, d.meta),
	}
	for label, value := range d.protected {
		if header[label] = value; value == nil {
			delete(header, label)
		}
	}
	b, err := cose.Sign1(rand.Reader, signer, cose.Headers{Protected: header, Unprotected: d.unprotected}, payload, nil)
	require.NoError(t, err)
	return b
}

// veraison makes an unsigned CoRIM with the Veraison library alone.
func veraison(t testing.TB) *made.UnsignedCorim {
	t.Helper()
	registers := comid.NewIntegrityRegisters()
	require.NoError(t, registers.AddDigest("rtmr0", *comid.NewHashEntry(swid.Sha384, bytes.Repeat([]byte{7}, 48))))
	require.NoError(t, registers.AddDigest(uint64(4), *comid.NewHashEntry(swid.Sha256, digest("pcr"))))
	regs := comid.Measurement{Val: comid.Mval{IntegrityRegisters: registers}}
	boot := comid.MustNewUintMeasurement(uint64(1)).AddDigest(swid.Sha256, digest("boot")).SetMinSVN(7).SetFlagsFalse(comid.FlagIsDebug)
	boot.AddDigest(swid.Sha384, bytes.Repeat([]byte{9}, 48))
	c := comid.NewComid().SetTagIdentity("firmware-2026", 1).SetLanguage("en-GB").
		AddEntity("ACME", nil, comid.RoleTagCreator).
		AddReferenceValue(comid.ReferenceValue{
			Environment: comid.Environment{
				Class:    (&comid.Class{}).SetVendor("ACME").SetModel("Milan"),
				Instance: comid.MustNewUEIDInstance(append([]byte{1}, digest("device")[:16]...)),
			},
			Measurements: *comid.NewMeasurements().AddMeasurement(boot).AddMeasurement(&regs),
		})
	require.NotNil(t, c)
	before := now.Add(-time.Hour)
	u := made.NewUnsignedCorim().SetID("corim-of-veraison").AddComid(*c).AddProfile(profile).
		SetRimValidity(now.Add(48*time.Hour), &before).AddEntity("ACME", nil, made.RoleManifestCreator)
	require.NotNil(t, u)
	return u
}

// signed signs with the Veraison library, valid for a day.
func signed(t testing.TB, u *made.UnsignedCorim, alg cose.Algorithm, key crypto.Signer) []byte {
	t.Helper()
	signer, err := cose.NewSigner(alg, key)
	require.NoError(t, err)
	before := now.Add(-time.Hour)
	meta := made.NewMeta().SetSigner("ACME signer", nil).SetValidity(now.Add(24*time.Hour), &before)
	b, err := (&made.SignedCorim{UnsignedCorim: *u, Meta: *meta}).Sign(signer)
	require.NoError(t, err)
	return b
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}
