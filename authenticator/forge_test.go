package authenticator

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

// forgery is an authenticator made by hand whose signature and MAC are right for
// what it says, so that only the rule under test refuses it.
type forgery struct {
	request     []byte // as the transcript has it
	context     []byte
	entries     []Entry
	certificate []byte // the Certificate message, if not of context and entries
	key         crypto.Signer
	scheme      tls.SignatureScheme
	content     func(hash []byte) []byte
}

// forge begins with what an honest peer would send.
func forge(r *Request) forgery {
	cert := ownLeaf()
	return forgery{
		request: r.Bytes(), context: r.Context(), key: newKey(), scheme: tls.ECDSAWithP256AndSHA256, content: signedContent,
		entries: []Entry{{Certificate: cert.Certificate[0]}, {Certificate: cert.Certificate[1]}},
	}
}

// bytes is the authenticator as the other side of s would send it.
func (f forgery) bytes(t testing.TB, s *Session) []byte {
	t.Helper()
	keys := s.keys[s.self.peer()]
	certificate := f.certificate
	if certificate == nil {
		certificate = appendCertificate(nil, f.context, f.entries)
	}
	h := s.hash.New()
	h.Write(keys.handshakeContext)
	h.Write(f.request)
	h.Write(certificate)
	info, ok := lookupScheme(f.scheme)
	if !ok {
		info = schemeTable[0]
	}
	signature, err := info.sign(f.key, f.content(h.Sum(nil)))
	require.NoError(t, err)
	verify := appendVerify(nil, f.scheme, signature)
	h.Write(verify)
	mac := hmac.New(s.hash.New, keys.finishedKey)
	mac.Write(h.Sum(nil))
	return appendFinished(append(bytes.Clone(certificate), verify...), mac.Sum(nil))
}

// rules that an authenticator with a right signature and a right MAC
// can still break.
func TestForgeries(t *testing.T) {
	t.Parallel()
	offer := RequestOptions{OCSP: true, SCT: true, Extensions: []Extension{{Type: 0xff00}}}
	entry := func(e Extension) func(*forgery) {
		return func(f *forgery) { f.entries[0].Extensions = []Extension{e} }
	}
	for _, tc := range []struct {
		name   string
		change func(*forgery)
		want   error // nil: valid
	}{
		{"honest", func(*forgery) {}, nil},
		{"leaf alone", func(f *forgery) { f.entries = f.entries[:1] }, nil},
		{"longest chain", func(f *forgery) { lengthen(f, MaxChain) }, nil},
		{"I-17 chain too long", func(f *forgery) { lengthen(f, MaxChain+1) }, ErrLimit},
		{"A-24 another context", func(f *forgery) { f.context = []byte("another") }, ErrContextMismatch},
		{"A-24 no context", func(f *forgery) { f.context = nil }, ErrContextMismatch},
		{"A-26 a raw public key", func(f *forgery) { f.entries[0].Certificate = ownLeaf().Leaf.RawSubjectPublicKeyInfo }, ErrCertificate},
		{"A-26 intermediate is not X.509", func(f *forgery) { f.entries[1].Certificate = []byte("x") }, ErrCertificate},
		{"a leaf of an unknown kind of key", func(f *forgery) { f.entries[0].Certificate = leaf(ecKey(elliptic.P224())).Certificate[0] }, ErrCertificate},
		{"A-28 offered extension", entry(Extension{0xff00, []byte("own")}), nil},
		{"A-28 extension that was not offered", entry(Extension{0xff05, nil}), ErrUnsupportedExtension},
		{"A-28 the same in the intermediate's entry", func(f *forgery) { f.entries[1].Extensions = []Extension{{0xff05, nil}} }, ErrUnsupportedExtension},
		{"A-19 extension twice", func(f *forgery) { f.entries[0].Extensions = []Extension{{0xff00, nil}, {0xff00, nil}} }, ErrIllegalExtension},
		{"extension for requests alone", entry(schemesExtension), ErrIllegalExtension},
		{"staple of another type", entry(Extension{extStatusRequest, []byte{2, 0, 0, 1, 7}}), ErrDecode},
		{"staple empty", entry(Extension{extStatusRequest, []byte{1, 0, 0, 0}}), ErrDecode},
		{"staple with trailing bytes", entry(Extension{extStatusRequest, []byte{1, 0, 0, 1, 7, 7}}), ErrDecode},
		{"SCT list empty", entry(Extension{extSCT, []byte{0, 0}}), ErrDecode},
		{"SCT empty", entry(Extension{extSCT, []byte{0, 2, 0, 0}}), ErrDecode},
		{"A-29 scheme that was not offered", func(f *forgery) { f.key, f.entries = edKey(), edChain(f) }, ErrSignatureScheme},
		{"A-29 PKCS#1", func(f *forgery) { f.scheme = tls.PKCS1WithSHA256 }, ErrSignatureScheme},
		{"A-29 ECDSA with SHA-1", func(f *forgery) { f.scheme = tls.ECDSAWithSHA1 }, ErrSignatureScheme},
		{"A-29 scheme of another curve", func(f *forgery) { f.scheme = tls.ECDSAWithP384AndSHA384 }, ErrSignatureScheme},
		{"A-30 signed by another key", func(f *forgery) { f.key = ecKey(elliptic.P256()) }, ErrSignature},
		{"A-30 request without its header", func(f *forgery) { f.request = f.request[4:] }, ErrSignature},
		{"A-30 no request", func(f *forgery) { f.request = nil }, ErrSignature},
		{"A-30 context string of the handshake", func(f *forgery) { f.content = handshakeContent }, ErrSignature},
		{"A-30 nothing before the hash", func(f *forgery) { f.content = func(h []byte) []byte { return h } }, ErrSignature},
		{"A-36 no entry", func(f *forgery) { f.entries = nil }, ErrDecode},
		{"empty certificate", func(f *forgery) { f.entries[0].Certificate = nil }, ErrDecode},
		{"trailing byte in Certificate", func(f *forgery) {
			f.certificate = appendCertificate(nil, f.context, f.entries)
			f.certificate = append(f.certificate, 0)
			f.certificate[3]++
		}, ErrDecode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := exporterPair(t).client
			offer := offer
			offer.SignatureSchemes = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.PKCS1WithSHA256, tls.ECDSAWithSHA1}
			r, err := s.NewRequest(offer)
			require.NoError(t, err)
			f := forge(r)
			tc.change(&f)
			peer, err := s.Validate(r, f.bytes(t, s), anyChain)
			if tc.want == nil {
				require.NoError(t, err)
				require.Equal(t, f.entries[0].Certificate, peer.Leaf().Raw)
				return
			}
			requireError(t, err, tc.want, OpValidate, FaultPeer)
			require.Nil(t, peer)
		})
	}
}

func lengthen(f *forgery, n int) {
	for len(f.entries) < n {
		f.entries = append(f.entries, f.entries[1])
	}
}

// edChain is a chain for the forgery's Ed25519 key, and makes it the scheme.
func edChain(f *forgery) []Entry {
	f.scheme = tls.Ed25519
	cert := leaf(f.key)
	return []Entry{{Certificate: cert.Certificate[0]}, {Certificate: cert.Certificate[1]}}
}

// handshakeContent is what a server signs in the TLS 1.3 handshake.
func handshakeContent(hash []byte) []byte {
	return append(append(bytes.Repeat([]byte{0x20}, 64), "TLS 1.3, server CertificateVerify\x00"...), hash...)
}

// values of the other sender prove nothing, so that nothing can be
// reflected.
func TestReflection(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	r, err := p.client.NewRequest(RequestOptions{})
	require.NoError(t, err)
	mirrored := &Session{self: Client, hash: p.client.hash, keys: [3]roleKeys{Server: p.client.keys[Client]}}
	_, err = p.client.Validate(r, forge(r).bytes(t, mirrored), anyChain)
	requireError(t, err, ErrSignature, OpValidate, FaultPeer)

	mirrored.keys = [3]roleKeys{Server: {p.client.keys[Server].handshakeContext, p.client.keys[Client].finishedKey}}
	r, err = p.client.NewRequest(RequestOptions{})
	require.NoError(t, err)
	_, err = p.client.Validate(r, forge(r).bytes(t, mirrored), anyChain)
	requireError(t, err, ErrFinished, OpValidate, FaultPeer)

	r, received := ask(t, p.client, p.server, RequestOptions{})
	refusal := appendFinished(nil, p.server.refusal(Client, received.raw, received.context))
	_, err = p.client.Validate(r, refusal, anyChain)
	requireError(t, err, ErrFinished, OpValidate, FaultPeer)
}

// a refusal is of one request; one that is not right is no refusal.
func TestWrongRefusals(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *Session, r *ReceivedRequest) []byte{
		"of another request":    func(s *Session, r *ReceivedRequest) []byte { return s.refusal(Server, r.raw, []byte("another")) },
		"without the header":    func(s *Session, r *ReceivedRequest) []byte { return s.refusal(Server, r.raw[4:], r.context) },
		"empty":                 func(*Session, *ReceivedRequest) []byte { return nil },
		"cut":                   func(s *Session, r *ReceivedRequest) []byte { return s.refusal(Server, r.raw, r.context)[:31] },
		"one byte more":         func(s *Session, r *ReceivedRequest) []byte { return append(s.refusal(Server, r.raw, r.context), 0) },
		"MAC of another length": func(*Session, *ReceivedRequest) []byte { return make([]byte, 48) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			r, received := ask(t, p.client, p.server, RequestOptions{})
			_, err := p.client.Validate(r, appendFinished(nil, change(p.server, received)), anyChain)
			requireError(t, err, ErrFinished, OpValidate, FaultPeer)
			require.NotErrorIs(t, err, ErrRefused)
		})
	}
}
