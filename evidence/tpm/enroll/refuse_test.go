package enroll

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/tpm"
)

// softMaker certifies endorsement keys without a TPM, which is enough to be refused.
func softMaker(t testing.TB) *Authority {
	t.Helper()
	a, err := NewAuthority("maker", time.Now())
	require.NoError(t, err)
	return a
}

func softEK(t testing.TB, maker *Authority, change func(*x509.Certificate)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return softEKFor(t, maker, key.Public(), change)
}

func softEKFor(t testing.TB, maker *Authority, pub crypto.PublicKey, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageKeyAgreement,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{tpm.OIDEKCertificate}, BasicConstraintsValid: true,
	}
	change(template)
	c, err := maker.issue(template, pub)
	require.NoError(t, err)
	return c.Raw
}

// softAK is the public area of an attestation key that no TPM has.
func softAK(t testing.TB, change func(*tpm2.TPMTPublic)) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	area := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, SignEncrypt: true, Restricted: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			CurveID: tpm2.TPMECCNistP256, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		}),
	}
	change(&area)
	return tpm2.Marshal(area)
}

func softCA(t testing.TB, maker *Authority, change func(*Options)) *CA {
	t.Helper()
	authority, err := NewAuthority("AK CA", time.Now())
	require.NoError(t, err)
	o := Options{Authority: authority, EKRoots: maker.Pool(), AnyTPM: true}
	change(&o)
	ca, err := NewCA(o)
	require.NoError(t, err)
	return ca
}

// B-19: what a CA refuses to certify, and why.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	maker, foreign := softMaker(t), softMaker(t)
	no, good := func(*x509.Certificate) {}, func(*tpm2.TPMTPublic) {}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	denied := errors.New("stolen")
	for name, c := range map[string]struct {
		request *Request
		want    []error
	}{
		"good":            {&Request{softEK(t, maker, no), softAK(t, good)}, nil},
		"nothing":         {nil, []error{ErrRequest}},
		"no certificate":  {&Request{nil, softAK(t, good)}, []error{ErrEKCertificate}},
		"too large":       {&Request{make([]byte, maxCertificate+1), softAK(t, good)}, []error{ErrEKCertificate}},
		"foreign maker":   {&Request{softEK(t, foreign, no), softAK(t, good)}, []error{ErrEKCertificate}},
		"a CA's":          {&Request{maker.Certificate.Raw, softAK(t, good)}, []error{ErrEKCertificate}},
		"for another use": {&Request{softEK(t, maker, func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }), softAK(t, good)}, []error{ErrEKCertificate}},
		"expired": {&Request{softEK(t, maker, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), softAK(t, good)},
			[]error{ErrEKCertificate}},
		"critical extension": {&Request{softEK(t, maker, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}), softAK(t, good)}, []error{ErrEKCertificate}},
		"key of no template": {&Request{softEKFor(t, maker, p521.Public(), no), softAK(t, good)}, []error{ErrEKCertificate}},
		"no attestation key": {&Request{softEK(t, maker, no), nil}, []error{ErrAK, evidence.ErrFormat}},
		"not restricted": {&Request{softEK(t, maker, no), softAK(t, func(a *tpm2.TPMTPublic) { a.ObjectAttributes.Restricted = false })},
			[]error{ErrAK, tpm.ErrNotRestricted}},
		"importable": {&Request{softEK(t, maker, no), softAK(t, func(a *tpm2.TPMTPublic) { a.ObjectAttributes.FixedTPM = false })},
			[]error{ErrAK, tpm.ErrAKMovable}},
	} {
		challenge, err := softCA(t, maker, func(*Options) {}).Challenge(t.Context(), c.request)
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.Nil(t, challenge, name)
		for _, want := range c.want {
			require.ErrorIs(t, err, want, name)
		}
	}
	ca := softCA(t, maker, func(o *Options) { o.AnyTPM, o.Admit = false, func([]byte) error { return denied } })
	_, err = ca.Challenge(t.Context(), &Request{softEK(t, maker, no), softAK(t, good)})
	require.ErrorIs(t, err, denied)
}

func TestRefusedAnswers(t *testing.T) {
	t.Parallel()
	maker := softMaker(t)
	now := time.Now()
	ca := softCA(t, maker, func(o *Options) { o.Now = func() time.Time { return now } })
	request := &Request{softEK(t, maker, func(*x509.Certificate) {}), softAK(t, func(*tpm2.TPMTPublic) {})}
	ask := func() *Challenge {
		c, err := ca.Challenge(t.Context(), request)
		require.NoError(t, err)
		return c
	}
	right := func(c *Challenge) *Answer { return &Answer{ID: c.ID, Secret: ca.pending[c.ID].secret[:]} }

	c := ask()
	answer := right(c)
	issued, err := ca.Issue(t.Context(), answer)
	require.NoError(t, err)
	require.Len(t, issued.Chain, 2)
	_, err = ca.Issue(t.Context(), answer)
	require.ErrorIs(t, err, ErrAnswer, "a challenge takes one answer")
	_, err = ca.Issue(t.Context(), nil)
	require.ErrorIs(t, err, ErrRequest)
	_, err = ca.Issue(t.Context(), &Answer{ID: "other"})
	require.ErrorIs(t, err, ErrAnswer)
	c = ask()
	answer = right(c)
	_, err = ca.Issue(t.Context(), &Answer{ID: c.ID, Secret: make([]byte, 32)})
	require.ErrorIs(t, err, ErrAnswer)
	_, err = ca.Issue(t.Context(), answer)
	require.ErrorIs(t, err, ErrAnswer, "a wrong answer ends a challenge")
	answer = right(ask())
	now = now.Add(pendingLife + time.Second)
	_, err = ca.Issue(t.Context(), answer)
	require.ErrorIs(t, err, ErrAnswer, "late")

	for range maxPending {
		ask()
	}
	_, err = ca.Challenge(t.Context(), request)
	require.ErrorIs(t, err, ErrBusy)
	now = now.Add(pendingLife + time.Second)
	ask()
	require.Len(t, ca.pending, 1, "late challenges are forgotten")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ca.Challenge(ctx, request)
	require.ErrorIs(t, err, context.Canceled)
	_, err = ca.Issue(ctx, answer)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewCA(t *testing.T) {
	t.Parallel()
	maker := softMaker(t)
	for name, change := range map[string]func(*Options){
		"no authority":      func(o *Options) { o.Authority = nil },
		"no roots":          func(o *Options) { o.EKRoots = nil },
		"no roots in it":    func(o *Options) { o.EKRoots = x509.NewCertPool() },
		"neither":           func(o *Options) { o.AnyTPM = false },
		"both":              func(o *Options) { o.Admit = func([]byte) error { return nil } },
		"negative lifetime": func(o *Options) { o.Lifetime = -1 },
	} {
		o := Options{Authority: maker, EKRoots: maker.Pool(), AnyTPM: true}
		_, err := NewCA(o)
		require.NoError(t, err)
		change(&o)
		_, err = NewCA(o)
		require.Error(t, err, name)
	}
}

// I-2: an endorsement key and an attestation key of two TPMs are not enrolled, and a
// TLS key only beside its attestation key.
func TestTwoDevices(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	m := newMaker(t)
	here, there := m.build(t), m.build(t)
	ca := newCA(t, m)
	ak, err := here.CreateAK(ctx, tpm.KeyOptions{})
	require.NoError(t, err)
	theirAK, err := there.CreateAK(ctx, tpm.KeyOptions{})
	require.NoError(t, err)
	ek, err := here.EndorsementKey(ctx)
	require.NoError(t, err)

	challenge, err := ca.Challenge(ctx, &Request{ek.Certificate, theirAK.PublicArea()})
	require.NoError(t, err)
	_, err = here.ActivateCredential(ctx, ek, ak, challenge.Credential, challenge.Secret)
	require.Error(t, err, "the challenge is for another attestation key")
	_, err = here.ActivateCredential(ctx, ek, ak, challenge.Credential, challenge.Secret[1:])
	require.Error(t, err)

	chain, err := Run(ctx, here, ak, ca)
	require.NoError(t, err, "no session is left after the failures")
	theirChain, err := Run(ctx, there, theirAK, ca)
	require.NoError(t, err)
	key, err := here.CreateKey(ctx, tpm.KeyOptions{})
	require.NoError(t, err)
	other, err := here.CreateKey(ctx, tpm.KeyOptions{})
	require.NoError(t, err)
	good, err := NewKeyRequest(ctx, here, ak, chain[0], key)
	require.NoError(t, err)
	second, err := NewKeyRequest(ctx, here, ak, chain[0], other)
	require.NoError(t, err)
	tlsCA := softMaker(t)
	_, err = ca.IssueTLS(tlsCA, good, time.Hour, "a.test")
	require.NoError(t, err)
	_, err = ca.IssueTLS(tlsCA, good, time.Hour)
	require.Error(t, err, "no name")
	_, err = ca.IssueTLS(tlsCA, good, 0, "a.test")
	require.Error(t, err, "no lifetime")
	otherUse, err := ca.options.Authority.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), SubjectKeyId: ak.Name(),
	}, ak.Public())
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(r *KeyRequest)
		want   error
	}{
		"another request":       {func(r *KeyRequest) { r.CSR = second.CSR }, evidence.ErrBinder},
		"another certification": {func(r *KeyRequest) { r.Certification = second.Certification }, evidence.ErrBinder},
		"another key named": {func(r *KeyRequest) {
			c := *r.Certification
			c.Key = second.Certification.Key
			r.Certification = &c
		}, tpm.ErrName},
		"attestation key of another TPM": {func(r *KeyRequest) { r.AK, r.AKCertificate = theirAK.PublicArea(), theirChain[0].Raw }, evidence.ErrSignature},
		"certificate of another TPM":     {func(r *KeyRequest) { r.AKCertificate = theirChain[0].Raw }, ErrTLSKey},
		"certificate of another CA":      {func(r *KeyRequest) { r.AKCertificate = tlsCA.Certificate.Raw }, ErrTLSKey},
		"certificate for another use":    {func(r *KeyRequest) { r.AKCertificate = otherUse.Raw }, ErrTLSKey},
		"no certificate":                 {func(r *KeyRequest) { r.AKCertificate = nil }, ErrRequest},
		"no certification":               {func(r *KeyRequest) { r.Certification = nil }, ErrRequest},
		"attestation key not read":       {func(r *KeyRequest) { r.AK = nil }, ErrTLSKey},
		"request too large":              {func(r *KeyRequest) { r.CSR = make([]byte, maxCSR+1) }, ErrRequest},
		"request not read":               {func(r *KeyRequest) { r.CSR = nil }, ErrRequest},
		"request of another signature":   {func(r *KeyRequest) { r.CSR = append([]byte{}, r.CSR...); r.CSR[len(r.CSR)-1] ^= 1 }, ErrRequest},
		"parent":                         {func(r *KeyRequest) { c := *r.Certification; c.Parent = nil; r.Certification = &c }, tpm.ErrSigner},
		"statement":                      {func(r *KeyRequest) { c := *r.Certification; c.Statement = nil; r.Certification = &c }, evidence.ErrFormat},
		"signature":                      {func(r *KeyRequest) { c := *r.Certification; c.Signature = nil; r.Certification = &c }, evidence.ErrFormat},
		"key":                            {func(r *KeyRequest) { c := *r.Certification; c.Key = nil; r.Certification = &c }, evidence.ErrFormat},
	} {
		r := *good
		c.change(&r)
		_, err := ca.IssueTLS(tlsCA, &r, time.Hour, "a.test")
		require.ErrorIs(t, err, c.want, name)
	}
	_, err = ca.IssueTLS(tlsCA, nil, time.Hour, "a.test")
	require.ErrorIs(t, err, ErrRequest)
	// The messages have JSON forms.
	text, err := json.Marshal(good)
	require.NoError(t, err)
	var again KeyRequest
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, good, &again)
}

// TestNoEK: a TPM without a certificate cannot be enrolled.
func TestNoEK(t *testing.T) {
	t.Parallel()
	m := newMaker(t)
	state, err := os.MkdirTemp(m.dir, "tpm")
	require.NoError(t, err)
	device := start(t, state)
	ak, err := device.CreateAK(t.Context(), tpm.KeyOptions{})
	require.NoError(t, err)
	_, err = Run(t.Context(), device, ak, softCA(t, softMaker(t), func(*Options) {}))
	require.ErrorIs(t, err, tpm.ErrNoEK)
}

func TestAuthorityFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := NewAuthority("CA", time.Now())
	require.NoError(t, err)
	require.NoError(t, a.Save(dir))
	require.ErrorIs(t, a.Save(dir), os.ErrExist)
	again, err := LoadAuthority(dir)
	require.NoError(t, err)
	require.Equal(t, a.Certificate.Raw, again.Certificate.Raw)
	info, err := os.Stat(filepath.Join(dir, keyFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	other := filepath.Join(t.TempDir(), "other")
	b, err := NewAuthority("CA", time.Now())
	require.NoError(t, err)
	require.NoError(t, b.Save(other))
	foreign, err := os.ReadFile(filepath.Join(other, keyFile))
	require.NoError(t, err)
	for name, change := range map[string]func(){
		"key of another": func() { require.NoError(t, os.WriteFile(filepath.Join(dir, keyFile), foreign, 0o600)) },
		"no PEM":         func() { require.NoError(t, os.WriteFile(filepath.Join(dir, keyFile), []byte("x"), 0o600)) },
		"no certificate": func() { require.NoError(t, os.Remove(filepath.Join(dir, certFile))) },
	} {
		change()
		_, err := LoadAuthority(dir)
		require.ErrorIs(t, err, ErrAuthority, name)
	}
}
