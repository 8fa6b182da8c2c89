package vectors

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

const (
	simulatedProfile = "https://github.com/expat-go/expat/profiles/simulated"
	simulatedType    = `application/eat+cwt; eat_profile="` + simulatedProfile + `"`
)

// deviceUEID is of type RAND.
var deviceUEID = concat([]byte{1}, derived("device", 16))

// Claims of the profile.
const (
	claimNonce        = 10
	claimUEID         = 256
	claimOEMID        = 258
	claimHWModel      = 259
	claimDebug        = 263
	claimProfile      = 265
	claimSWName       = 270
	claimSWVersion    = 271
	claimMeasurements = 273
	claimKeyHash      = -75001
	claimProvenance   = -75002
)

// eat is Evidence in the making. newEAT sets everything right; a case changes one
// thing, and build computes the rest anew.
type eat struct {
	p      *pki
	claims map[int]any
	header map[int]any
	key    string
	// payload, protected and assemble turn what is above into bytes.
	payload   func(claims []byte) []byte
	protected func(header []byte) []byte
	toSign    func(protected, payload []byte) []any
	sign      func(key crypto.Signer, message []byte) ([]byte, error)
	assemble  func(protected, payload, signature []byte) ([]byte, error)
}

// coseSign1 is CBOR tag 18.
const coseSign1 = 18

func unchanged(b []byte) []byte { return b }

func (p *pki) newEAT(binder, keyHash []byte) *eat {
	chain := p.chains["evidence-device"].Certificate
	root := sha256.Sum256(spkiOf(p.certs["evidence-root"]))
	return &eat{
		p: p, key: "evidence-device", payload: unchanged, protected: unchanged,
		claims: map[int]any{
			claimNonce: binder, claimUEID: deviceUEID, claimOEMID: root[:16], claimProfile: simulatedProfile,
			claimKeyHash: keyHash, claimProvenance: 1,
		},
		header: map[int]any{1: -7, 33: chain},
		toSign: func(protected, payload []byte) []any { return []any{"Signature1", protected, []byte{}, payload} },
		sign: func(key crypto.Signer, message []byte) ([]byte, error) {
			der, err := signHash(key, crypto.SHA256, 0, message)
			if err != nil {
				return nil, err
			}
			return rawSignature(der)
		},
		assemble: func(protected, payload, signature []byte) ([]byte, error) {
			return coreDet.Marshal(cbor.Tag{Number: coseSign1, Content: []any{protected, map[int]any{}, payload, signature}})
		},
	}
}

func (e *eat) build() ([]byte, error) {
	claims, err := coreDet.Marshal(e.claims)
	if err != nil {
		return nil, err
	}
	header, err := coreDet.Marshal(e.header)
	if err != nil {
		return nil, err
	}
	payload, protected := e.payload(claims), e.protected(header)
	message, err := coreDet.Marshal(e.toSign(protected, payload))
	if err != nil {
		return nil, err
	}
	signature, err := e.sign(e.p.key(e.key), message)
	if err != nil {
		return nil, err
	}
	return e.assemble(protected, payload, signature)
}

// component is a measured component as claim 273 holds it.
func component(name, version string, algorithm int, digest []byte) []any {
	id := []any{name}
	if version != "" {
		id = append(id, []any{version})
	}
	b, err := coreDet.Marshal(map[int]any{1: id, 2: []any{algorithm, digest}})
	if err != nil {
		panic(err) // strings and bytes always encode
	}
	return []any{295, b}
}

// evidenceWriter adds Evidence about the identity server-p256.
type evidenceWriter struct {
	*writer
	p *pki
}

func (w evidenceWriter) make(id string, c *Connection, identity string, change func(*eat)) (evidenceInput, *eat) {
	context := requestContext("evidence " + id)
	leaf := w.p.chains[identity].Certificate[0]
	b, err := bind(c, "expat-04", context, leaf)
	w.fail(id, err)
	e := w.p.newEAT(b.Binder, b.KeyHash)
	if change != nil {
		change(e)
	}
	token, err := e.build()
	w.fail(id, err)
	return evidenceInput{*c, "expat-04", context, leaf, simulatedType, token, []string{"evidence-root"}, checkTime}, e
}

func (w evidenceWriter) valid(id, comment string, c *Connection, identity string, change func(*eat), expect func(*evidenceExpected)) {
	in, e := w.make(id, c, identity, change)
	device, err := x509.ParseCertificate(w.p.chains["evidence-device"].Certificate[0])
	if err != nil {
		w.fail(id, err)
		return
	}
	keyID := sha256.Sum256(device.RawSubjectPublicKeyInfo)
	out := evidenceExpected{
		Binder: e.claims[claimNonce].([]byte), KeyHash: e.claims[claimKeyHash].([]byte), Instance: deviceUEID,
		Vendor: e.claims[claimOEMID].([]byte), Debug: "not-stated", Measurements: []measurement{}, KeyProvenance: "born-inside",
		Signer: signer{device.SerialNumber.Bytes(), keyID[:], validTo},
	}
	if expect != nil {
		expect(&out)
	}
	w.writer.valid(id, comment, in, out)
}

func (w evidenceWriter) invalid(id, reason, comment string, change func(*eat)) {
	in, _ := w.make(id, &rfc8448, "server-p256", change)
	w.writer.invalid(id, reason, comment, in)
}

// changed is invalid with a change to the input around the Evidence.
func (w evidenceWriter) changed(id, reason, comment string, change func(*evidenceInput)) {
	in, _ := w.make(id, &rfc8448, "server-p256", nil)
	change(&in)
	w.writer.invalid(id, reason, comment, in)
}

func writeEvidence(p *pki, plain *writer) {
	w := evidenceWriter{plain, p}
	writeRightEvidence(w)
	writeWrongEnvelopes(w)
	writeWrongClaims(w)
	writeUntrustedEvidence(w)
}

func writeRightEvidence(w evidenceWriter) {
	w.valid("minimal-sha256", "the claims that are required", &rfc8448, "server-p256", nil, nil)
	w.valid("minimal-sha384", "binder and key hash of 48 bytes", &conn384, "client-p384", nil, nil)
	w.valid("ed25519-key", "another kind of key is attested", &rfc8448, "client-ed25519", nil, nil)
	digest := derived("measurement", 64)
	w.valid("everything", "all claims", &rfc8448, "server-p256", func(e *eat) {
		e.claims[claimHWModel] = []byte("model")
		e.claims[claimDebug] = 4
		e.claims[claimSWName] = "firmware"
		e.claims[claimSWVersion] = []any{"1.2.3"}
		e.claims[claimMeasurements] = []any{component("kernel", "6.1", 1, digest[:32]), component("app", "", 8, digest)}
	}, func(out *evidenceExpected) {
		out.HardwareModel, out.Debug = hexPtr([]byte("model")), "disabled-fully-and-permanently"
		out.Software = &software{"firmware", ptr("1.2.3")}
		out.Measurements = []measurement{{"kernel", ptr("6.1"), "sha-256", digest[:32]}, {"app", nil, "sha-512", digest}}
	})
	for value, name := range []string{"enabled", "disabled", "disabled-since-boot", "disabled-permanently"} {
		w.valid("debug-"+name, fmt.Sprintf("dbgstat %d", value), &rfc8448, "server-p256",
			func(e *eat) { e.claims[claimDebug] = value }, func(out *evidenceExpected) { out.Debug = name })
	}
	w.valid("software-no-version", "swname without swversion", &rfc8448, "server-p256",
		func(e *eat) { e.claims[claimSWName] = "firmware" }, func(out *evidenceExpected) { out.Software = &software{Name: "firmware"} })
	w.valid("key-external", "the key was not generated in the device", &rfc8448, "server-p256",
		func(e *eat) { e.claims[claimProvenance] = 2 }, func(out *evidenceExpected) { out.KeyProvenance = "external" })
	w.valid("key-named-by-software", "software in the device named the key, which is held elsewhere", &rfc8448, "server-p256",
		func(e *eat) { e.claims[claimProvenance] = 4 }, func(out *evidenceExpected) { out.KeyProvenance = "named-by-software" })
	for _, a := range []struct {
		id, size int
		name     string
	}{{7, 48, "sha-384"}, {10, 32, "sha3-256"}, {11, 48, "sha3-384"}, {12, 64, "sha3-512"}} {
		w.valid("digest-"+a.name, fmt.Sprintf("algorithm %d", a.id), &rfc8448, "server-p256",
			func(e *eat) {
				e.claims[claimMeasurements] = []any{component("app", "1", a.id, digest[:a.size])}
			},
			func(out *evidenceExpected) {
				out.Measurements = []measurement{{"app", ptr("1"), a.name, digest[:a.size]}}
			})
	}
}
