package tpm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/detcbor"
)

// forger holds an attestation key in software that a CA has certified, as if it were
// a TPM. go-tpm encodes what it says, so that our decoder is checked against it.
type forger struct {
	ca     *authority
	signer crypto.Signer
	scheme tpm2.TPMAlgID
	ak     tpm2.TPMTPublic
	key    tpm2.TPMTPublic
	parent []byte
	cert   *x509.Certificate
	binder []byte
	pcrs   [][]byte
	log    []byte

	certify, quote tpm2.TPMSAttest
	tamper         func(*report)
}

// newForger makes one whose Evidence is good, with the PCRs 0 and 4.
func newForger(t testing.TB) *forger {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tls, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	f := &forger{
		ca: newAuthority(t), signer: key, scheme: tpm2.TPMAlgECDSA,
		ak: softArea(t, key.Public(), ECDSAP256, true), key: softArea(t, tls.Public(), ECDSAP384, false),
		parent: nameOf(crypto.SHA256, []byte("parent")), binder: make([]byte, 32),
		pcrs: [][]byte{make([]byte, 32), make([]byte, 32)}, tamper: func(*report) {},
	}
	f.state(t)
	return f
}

// softArea is the public area that a TPM would give a key.
func softArea(t testing.TB, pub crypto.PublicKey, a Algorithm, restricted bool) tpm2.TPMTPublic {
	t.Helper()
	area, err := keyTemplate(a, restricted)
	require.NoError(t, err)
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		require.NoError(t, err)
		n := len(point) / 2
		area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1 : 1+n]}, Y: tpm2.TPM2BECCParameter{Buffer: point[1+n:]},
		})
	case *rsa.PublicKey:
		area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: pub.N.Bytes()})
	}
	return area
}

// state makes both statements, and the certificate, from the other fields.
func (f *forger) state(t testing.TB) {
	t.Helper()
	ak, key := mustName(t, f.ak), mustName(t, f.key)
	f.cert = f.ca.issue(t, f.ca.template(ak), f.signer.Public())
	base := tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, QualifiedSigner: tpm2.TPM2BName{Buffer: signerName(f.parent, ak)},
		ExtraData: tpm2.TPM2BData{Buffer: f.binder}, FirmwareVersion: 0x0001_0002_0003_0004,
	}
	f.certify, f.quote = base, base
	f.certify.Type = tpm2.TPMSTAttestCertify
	f.certify.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{Name: tpm2.TPM2BName{Buffer: key}})
	f.quote.Type = tpm2.TPMSTAttestQuote
	f.quoteOf(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(0, 4)},
	}})
}

func (f *forger) quoteOf(selection tpm2.TPMLPCRSelection) {
	f.quote.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
		PCRSelect: selection, PCRDigest: tpm2.TPM2BDigest{Buffer: pcrDigest(crypto.SHA256, f.pcrs)},
	})
}

func mustName(t testing.TB, area tpm2.TPMTPublic) []byte {
	t.Helper()
	name, err := tpm2.ObjectName(&area)
	require.NoError(t, err)
	return name.Buffer
}

// sign is what a TPM would answer for the scheme.
func (f *forger) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	switch key := f.signer.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		require.NoError(t, err)
		return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: f.scheme, Signature: tpm2.NewTPMUSignature(f.scheme, &tpm2.TPMSSignatureECC{
			Hash:       tpm2.TPMAlgSHA256,
			SignatureR: tpm2.TPM2BECCParameter{Buffer: r.Bytes()}, SignatureS: tpm2.TPM2BECCParameter{Buffer: s.Bytes()},
		})})
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = crypto.SHA256
		if f.scheme == tpm2.TPMAlgRSAPSS {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256} // as long as fits
		}
		b, err := key.Sign(rand.Reader, digest[:], opts)
		require.NoError(t, err)
		return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: f.scheme, Signature: tpm2.NewTPMUSignature(f.scheme, &tpm2.TPMSSignatureRSA{
			Hash: tpm2.TPMAlgSHA256, Sig: tpm2.TPM2BPublicKeyRSA{Buffer: b},
		})})
	}
	t.Fatal("no such signer")
	return nil
}

// evidence is encoded and signed; tamper changes it after that.
func (f *forger) evidence(t testing.TB) []byte {
	t.Helper()
	r := &report{
		AK: tpm2.Marshal(f.ak), Parent: f.parent, Chain: [][]byte{f.cert.Raw}, Key: tpm2.Marshal(f.key),
		Certify: tpm2.Marshal(f.certify), Quote: tpm2.Marshal(f.quote), PCRs: f.pcrs, EventLog: f.log,
	}
	r.CertifySignature, r.QuoteSignature = f.sign(t, r.Certify), f.sign(t, r.Quote)
	f.tamper(r)
	return marshal(t, r)
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := detcbor.Encode(v)
	require.NoError(t, err)
	return b
}

func (f *forger) extract(t testing.TB, fromLog ...int) (*evidence.Claims, error) {
	t.Helper()
	return Extractor{FromLog: fromLog}.Extract(context.Background(), MediaType, f.evidence(t), f.ca.roots(), time.Now())
}

// refused requires an evidence.Error of that reason, step and cause.
func refused(t testing.TB, err, reason error, step string, cause error) {
	t.Helper()
	var e *evidence.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, reason)
	require.Equal(t, step, e.Step, "%v", err)
	if cause != nil {
		require.ErrorIs(t, err, cause)
	}
}
