package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

func TestExtract(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	c, err := f.extract(t)
	require.NoError(t, err)
	require.Equal(t, Platform, c.Platform)
	require.Equal(t, evidence.CertifiedKey, c.Form)
	require.Equal(t, f.binder, c.Binder)
	require.Equal(t, evidence.KeyBornInside, c.Key)
	require.Equal(t, evidence.DebugLeftToSoftware, c.Debug)
	require.Equal(t, []evidence.Software{{Name: Firmware, Version: "1.2.3.4"}}, c.Software)
	require.Equal(t, []evidence.Measurement{
		{Name: "pcr:sha256:0", Algorithm: "sha-256", Digest: f.pcrs[0]},
		{Name: "pcr:sha256:4", Algorithm: "sha-256", Digest: f.pcrs[1]},
	}, c.Measurements)
	require.Equal(t, testInstance, c.Instance)
	require.Equal(t, []byte{77}, c.Signer.Serial)
	keyID := sha256.Sum256(f.cert.RawSubjectPublicKeyInfo)
	require.Equal(t, keyID[:], c.Signer.KeyID)
	require.Equal(t, f.cert.NotAfter, c.Signer.NotAfter)
	require.Nil(t, c.Vendor)
	require.Nil(t, c.HardwareModel)
}

// Other banks, and attestation keys with RSA.
func TestExtractVariants(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, scheme := range []tpm2.TPMAlgID{tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS} {
		f := newForger(t)
		f.signer, f.scheme = key, scheme
		f.ak = softArea(t, key.Public(), RSA2048, true)
		parms, err := f.ak.Parameters.RSADetail()
		require.NoError(t, err)
		parms.Scheme = tpm2.TPMTRSAScheme{Scheme: scheme, Details: tpm2.NewTPMUAsymScheme(scheme, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256})}
		if scheme == tpm2.TPMAlgRSAPSS {
			parms.Scheme.Details = tpm2.NewTPMUAsymScheme(scheme, &tpm2.TPMSSigSchemeRSAPSS{HashAlg: tpm2.TPMAlgSHA256})
		}
		f.ak.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, parms)
		f.state(t)
		_, err = f.extract(t)
		require.NoError(t, err)
		f.tamper = func(r *report) { r.Quote = bytes.Replace(r.Quote, f.binder, bytes.Repeat([]byte{1}, 32), 1) }
		_, err = f.extract(t)
		refused(t, err, evidence.ErrSignature, "quote", nil)
	}
	for alg, want := range map[tpm2.TPMAlgID]string{tpm2.TPMAlgSHA384: "pcr:sha384:23", tpm2.TPMAlgSHA512: "pcr:sha512:23"} {
		f := newForger(t)
		f.pcrs = [][]byte{make([]byte, hashes[alg].Size())}
		f.quoteOf(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: alg, PCRSelect: []byte{0, 0, 0x80}}}})
		c, err := f.extract(t)
		require.NoError(t, err)
		require.Equal(t, want, c.Measurements[0].Name)
	}
}

// C-7, I-14: each statement is checked, one change at a time.
func TestStatements(t *testing.T) {
	t.Parallel()
	other := func(attested tpm2.TPMUAttest, a *tpm2.TPMSAttest, typ tpm2.TPMST) { a.Type, a.Attested = typ, attested }
	for name, c := range map[string]struct {
		change func(*forger)
		reason error
		step   string
		cause  error
	}{
		"magic of the certification": {func(f *forger) { f.certify.Magic++ }, evidence.ErrFormat, "certification", ErrMagic},
		"magic of the quote":         {func(f *forger) { f.quote.Magic = 0 }, evidence.ErrFormat, "quote", ErrMagic},
		"quote as certification": {func(f *forger) { other(f.quote.Attested, &f.certify, tpm2.TPMSTAttestQuote) },
			evidence.ErrSignature, "certification", ErrType},
		"certification as quote": {func(f *forger) { other(f.certify.Attested, &f.quote, tpm2.TPMSTAttestCertify) },
			evidence.ErrSignature, "quote", ErrType},
		"a statement of the time": {func(f *forger) {
			other(tpm2.NewTPMUAttest(tpm2.TPMSTAttestTime, &tpm2.TPMSTimeAttestInfo{}), &f.quote, tpm2.TPMSTAttestTime)
		}, evidence.ErrFormat, "quote", errStatement},
		"other signer": {func(f *forger) { f.quote.QualifiedSigner.Buffer = nameOf(crypto.SHA256, nil) },
			evidence.ErrSignature, "quote", ErrSigner},
		"signer under the owner hierarchy": {func(f *forger) { f.certify.QualifiedSigner.Buffer = ownerName(f) },
			evidence.ErrSignature, "certification", ErrSigner},
		"parent is no Name": {func(f *forger) { f.parent = f.parent[:33] }, evidence.ErrSignature, "certification", ErrSigner},
		"parent too long":   {func(f *forger) { f.parent = make([]byte, 67) }, evidence.ErrFormat, "CBOR", nil},
		"quote for another binder": {func(f *forger) { f.quote.ExtraData.Buffer = make([]byte, 31) },
			evidence.ErrSignature, "binder", ErrMixed},
		"certification for another binder": {func(f *forger) { f.certify.ExtraData.Buffer = bytes.Repeat([]byte{1}, 32) },
			evidence.ErrSignature, "binder", ErrMixed},
		"other key certified": {func(f *forger) { f.key.ObjectAttributes.NoDA = true }, evidence.ErrSignature, "certified key", ErrName},
		"value missing":       {func(f *forger) { f.pcrs = f.pcrs[:1] }, evidence.ErrSignature, "PCRs", ErrPCRSelection},
		"value too many":      {func(f *forger) { f.pcrs = append(f.pcrs, f.pcrs[0]) }, evidence.ErrSignature, "PCRs", ErrPCRSelection},
		"value of another bank": {func(f *forger) { f.pcrs[0] = f.pcrs[0][:20] },
			evidence.ErrSignature, "PCRs", ErrPCRSelection},
		"other value": {func(f *forger) { f.pcrs[1] = bytes.Repeat([]byte{1}, 32) }, evidence.ErrSignature, "PCRs", ErrPCRDigest},
		"no values":   {func(f *forger) { f.pcrs = nil }, evidence.ErrFormat, "CBOR", nil},
		"bank of SHA-1": {func(f *forger) {
			f.quoteOf(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA1, PCRSelect: []byte{1, 0, 0}}}})
		}, evidence.ErrFormat, "quote", errStatement},
		"two banks": {func(f *forger) {
			f.quoteOf(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
				{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{1, 0, 0}}, {Hash: tpm2.TPMAlgSHA384, PCRSelect: []byte{1, 0, 0}},
			}})
		}, evidence.ErrFormat, "quote", errStatement},
		"no PCR selected": {func(f *forger) {
			f.quoteOf(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{0, 0, 0}}}})
		}, evidence.ErrFormat, "quote", errStatement},
		"32 PCRs": {func(f *forger) {
			f.quoteOf(tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{1, 0, 0, 0}}}})
		}, evidence.ErrFormat, "quote", errStatement},
		"signature of another key": {func(f *forger) { f.signer = softKey(t) }, evidence.ErrSignature, "certification", nil},
		"signatures swapped": {func(f *forger) {
			f.tamper = func(r *report) { r.CertifySignature, r.QuoteSignature = r.QuoteSignature, r.CertifySignature }
		}, evidence.ErrSignature, "certification", nil},
		"signature of another scheme": {func(f *forger) {
			f.tamper = func(r *report) {
				r.QuoteSignature = bytes.Replace(r.QuoteSignature, []byte{0, 0x18, 0, 0x0b}, []byte{0, 0x18, 0, 0x0c}, 1)
			}
		}, evidence.ErrSignature, "quote", nil},
		"ECDAA": {func(f *forger) { f.tamper = func(r *report) { r.QuoteSignature[1] = 0x1a } },
			evidence.ErrFormat, "signature of the quote", errSignature},
		"trailing byte in a signature": {func(f *forger) {
			f.tamper = func(r *report) { r.CertifySignature = append(r.CertifySignature, 0) }
		}, evidence.ErrFormat, "signature of the certification", errSignature},
		"trailing byte in a statement": {func(f *forger) { f.tamper = func(r *report) { r.Quote = append(r.Quote, 0) } },
			evidence.ErrFormat, "quote", errStatement},
		"trailing byte in a public area": {func(f *forger) { f.tamper = func(r *report) { r.Key = append(r.Key, 0) } },
			evidence.ErrFormat, "certified key", errPublic},
		"statement too large": {func(f *forger) { f.tamper = func(r *report) { r.Quote = make([]byte, maxStructure+1) } },
			evidence.ErrFormat, "quote", errStatement},
		"signature too large": {func(f *forger) { f.tamper = func(r *report) { r.QuoteSignature = make([]byte, maxStructure+1) } },
			evidence.ErrFormat, "signature of the quote", errSignature},
		"public area too large": {func(f *forger) { f.tamper = func(r *report) { r.AK = make([]byte, maxStructure+1) } },
			evidence.ErrFormat, "attestation key", errPublic},
		"event log too large": {func(f *forger) { f.log = make([]byte, maxEventLog+1) }, evidence.ErrFormat, "CBOR", nil},
		"event log malformed": {func(f *forger) { f.log = make([]byte, maxEventLog) }, evidence.ErrFormat, "event log", errLog},
	} {
		f := newForger(t)
		c.change(f)
		claims, err := f.extract(t)
		require.Nil(t, claims, name)
		t.Run(name, func(t *testing.T) { refused(t, err, c.reason, c.step, c.cause) })
	}
}

func softKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// ownerName is the qualified Name of the attestation key if its parent were in the
// owner hierarchy, where a TPM obfuscates the version of its firmware.
func ownerName(f *forger) []byte {
	name, _ := tpm2.ObjectName(&f.ak)
	return nameOf(crypto.SHA256, nameOf(crypto.SHA256, []byte{0x40, 0, 0, 1}, f.parent), name.Buffer)
}

// B-19: who signs is settled before what was signed is looked at.
func TestSigner(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*forger)
		reason error
		step   string
		cause  error
	}{
		"not restricted": {func(f *forger) { f.ak.ObjectAttributes.Restricted = false; f.state(t) },
			evidence.ErrChain, "attestation key", ErrNotRestricted},
		"decrypts too": {func(f *forger) { f.ak.ObjectAttributes.Decrypt = true; f.state(t) },
			evidence.ErrChain, "attestation key", ErrNotRestricted},
		"scheme left open": {func(f *forger) { openScheme(t, f); f.state(t) },
			evidence.ErrChain, "attestation key", ErrNotRestricted},
		"importable": {func(f *forger) { f.ak.ObjectAttributes.FixedTPM = false; f.state(t) },
			evidence.ErrChain, "attestation key", ErrAKMovable},
		"duplicable": {func(f *forger) { f.ak.ObjectAttributes.EncryptedDuplication = true; f.state(t) },
			evidence.ErrChain, "attestation key", ErrAKMovable},
		"does not sign": {func(f *forger) { f.ak.ObjectAttributes.SignEncrypt = false; f.state(t) },
			evidence.ErrFormat, "attestation key", errPublic},
		"attributes changed after certification": {func(f *forger) { f.ak.ObjectAttributes.UserWithAuth = false },
			evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"no certificate": {func(f *forger) { f.tamper = func(r *report) { r.Chain = [][]byte{} } },
			evidence.ErrFormat, "CBOR", ErrNoCertificate},
		"six certificates": {func(f *forger) {
			f.tamper = func(r *report) { r.Chain = [][]byte{r.Chain[0], {0}, {0}, {0}, {0}, {0}} }
		}, evidence.ErrFormat, "CBOR", nil},
		"certificate too large": {func(f *forger) { f.tamper = func(r *report) { r.Chain = [][]byte{make([]byte, maxCertificate+1)} } },
			evidence.ErrFormat, "CBOR", nil},
		"certificate malformed": {func(f *forger) { f.tamper = func(r *report) { r.Chain = [][]byte{{0x30}} } },
			evidence.ErrFormat, "certificates", nil},
		"foreign chain": {func(f *forger) { f.ca = newAuthority(t) }, evidence.ErrChain, "certificate chain", x509.UnknownAuthorityError{}},
		"certificate of another key": {func(f *forger) { reissue(t, f, softKey(t), func(*x509.Certificate) {}) },
			evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"certificate for no attestation": {func(f *forger) {
			reissue(t, f, f.signer, func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{OIDEKCertificate} })
		}, evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"certificate of a CA": {func(f *forger) {
			reissue(t, f, f.signer, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
		}, evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"certificate for more than signing": {func(f *forger) {
			reissue(t, f, f.signer, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })
		}, evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"certificate without device": {func(f *forger) {
			reissue(t, f, f.signer, func(c *x509.Certificate) { c.Subject.SerialNumber = "AB" })
		}, evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"certificate with a malformed name": {func(f *forger) {
			reissue(t, f, f.signer, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: OIDSubjectAltName, Value: []byte{0x30, 4, 0xa4, 2, 5, 0}}}
			})
		}, evidence.ErrChain, "certificate of the attestation key", ErrAKCertificate},
		"certificate expired": {func(f *forger) {
			reissue(t, f, f.signer, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
		}, evidence.ErrChain, "certificate chain", x509.CertificateInvalidError{}},
	} {
		f := newForger(t)
		c.change(f)
		claims, err := f.extract(t)
		require.Nil(t, claims, name)
		t.Run(name, func(t *testing.T) {
			switch target := c.cause.(type) {
			case x509.UnknownAuthorityError:
				refused(t, err, c.reason, c.step, nil)
				require.ErrorAs(t, err, &target)
			case x509.CertificateInvalidError:
				refused(t, err, c.reason, c.step, nil)
				require.ErrorAs(t, err, &target)
			default:
				refused(t, err, c.reason, c.step, c.cause)
			}
		})
	}
}

// openScheme makes the attestation key one that signs in any scheme.
func openScheme(t testing.TB, f *forger) {
	t.Helper()
	parms, err := f.ak.Parameters.ECCDetail()
	require.NoError(t, err)
	parms.Scheme = tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}
	f.ak.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, parms)
}

// reissue gives the forger a certificate with one change.
func reissue(t testing.TB, f *forger, key crypto.Signer, change func(*x509.Certificate)) {
	t.Helper()
	template := f.ca.template(mustName(t, f.ak))
	change(template)
	f.cert = f.ca.issue(t, template, key.Public())
}

// D-5: what the public area says of the certified key decides its provenance.
func TestProvenance(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*tpm2.TPMAObject){
		"not fixed in the TPM":    func(a *tpm2.TPMAObject) { a.FixedTPM = false },
		"not fixed in the parent": func(a *tpm2.TPMAObject) { a.FixedParent = false },
		"made outside":            func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false },
		"duplicable":              func(a *tpm2.TPMAObject) { a.EncryptedDuplication = true },
	} {
		f := newForger(t)
		change(&f.key.ObjectAttributes)
		f.state(t)
		c, err := f.extract(t)
		require.NoError(t, err, name)
		require.Equal(t, evidence.KeyExternal, c.Key, name)
	}
}

func TestExtractArguments(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	value, roots, now := f.evidence(t), f.ca.roots(), time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Extractor{}.Extract(ctx, MediaType, value, roots, now)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Extractor{}.Extract(context.Background(), MediaType, value, nil, now)
	require.ErrorIs(t, err, evidence.ErrRoots)
	_, err = Extractor{}.Extract(context.Background(), "text/plain", value, roots, now)
	refused(t, err, evidence.ErrFormat, "media type", nil)
	_, err = Extractor{}.Extract(context.Background(), MediaType, value, roots, time.Time{})
	refused(t, err, evidence.ErrChain, "certificate chain", nil)
	require.Equal(t, []string{MediaType}, Extractor{}.MediaTypes())
}
