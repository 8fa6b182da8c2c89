package authenticator

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/ocsp"

	"github.com/expat-go/expat/testdata/vectors"
)

// seed adds messages to a corpus, which must not be empty.
func seed(f *testing.F, messages ...[]byte) {
	f.Helper()
	if len(messages) == 0 {
		f.Fatal("no seeds")
	}
	for _, m := range messages {
		if len(m) == 0 {
			f.Fatal("empty seed")
		}
		f.Add(m)
	}
}

// published is one member of every case of a group of the interop vectors.
func published(f *testing.F, group, member string) [][]byte {
	f.Helper()
	messages, err := vectors.Seeds(group, member)
	require.NoError(f, err)
	return slices.DeleteFunc(messages, func(m []byte) bool { return len(m) == 0 })
}

// corpus is requests and authenticators of every kind, as honest peers send them.
func corpus(f *testing.F) (requests, authenticators [][]byte) {
	p := exporterPair(f)
	staples := ownLeaf()
	staples.OCSPStaple, staples.SignedCertificateTimestamps = []byte("staple"), [][]byte{[]byte("sct")}
	for _, o := range []RequestOptions{
		{},
		{Context: []byte{}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SignatureSchemesCert: SignatureSchemes()},
		{OCSP: true, SCT: true, Authorities: [][]byte{newCA().Root.RawSubject}, OIDFilters: []OIDFilter{{OID: oidKeyUsage}, {OID: asn1.ObjectIdentifier{1, 2, 3}}}},
		{Nonce: make([]byte, MaxNonce), Extensions: []Extension{{Type: 0xff00}}},
	} {
		for _, d := range []struct{ from, to *Session }{{p.client, p.server}, {p.server, p.client}} {
			if o.Context != nil && d.from == p.server {
				continue // an empty context is used once
			}
			r, b := exchange(f, d.from, d.to, o, identity(f, staples))
			requests, authenticators = append(requests, r.Bytes()), append(authenticators, b)
		}
	}
	_, received := ask(f, p.client, p.server, RequestOptions{})
	refusal, err := p.server.Refuse(received)
	require.NoError(f, err)
	return requests, append(authenticators, refusal, spontaneous(f, p.server))
}

// Property: what is taken encodes to the same bytes, uses its context up, and a
// Session of the other role refuses it; what is not taken is the peer's fault.
func FuzzReceiveRequest(f *testing.F) {
	requests, _ := corpus(f)
	seed(f, append(requests, published(f, "request", "message")...)...)
	f.Fuzz(func(t *testing.T, b []byte) {
		p := exporterPair(t)
		r, err := p.server.ReceiveRequest(b)
		if err != nil {
			require.Nil(t, r)
			requirePeerFault(t, err, OpAuthenticate, 0)
			return
		}
		require.Equal(t, b, appendRequest(r.typ, r.context, r.extensions))
		require.Equal(t, typeClientCertificateRequest, r.typ)
		require.NotEmpty(t, r.offer.schemes)
		_, err = p.server.ReceiveRequest(b)
		require.ErrorIs(t, err, ErrContextReuse)
		_, err = p.client.ReceiveRequest(b)
		require.ErrorIs(t, err, ErrUnexpectedMessage)
		refusal, err := p.server.Refuse(r)
		require.NoError(t, err)
		require.Len(t, refusal, 36)
	})
}

// Property: a context is what the message begins with, and nothing that is cut has one.
func FuzzContext(f *testing.F) {
	requests, authenticators := corpus(f)
	seed(f, append(requests, authenticators...)...)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Context(b)
		if err != nil {
			require.Nil(t, got)
			requirePeerFault(t, err, OpContext, 0)
			return
		}
		require.Equal(t, b[5:5+int(b[4])], got)
		_, err = Context(b[:len(b)-1])
		require.Error(t, err)
		_, err = Context(append(bytes.Clone(b), 0))
		require.Error(t, err)
	})
}

// Property: what is parsed encodes to the same bytes.
func FuzzParseAuthenticator(f *testing.F) {
	_, authenticators := corpus(f)
	seed(f, append(authenticators, published(f, "authenticator", "authenticator")...)...)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseAuthenticator(b)
		u, unverified := ParseUnverified(b)
		if err != nil {
			require.Nil(t, p)
			var reason *failure
			require.True(t, errors.As(err, &reason))
			require.Nil(t, u)
			requirePeerFault(t, unverified, OpContext, 0)
			return
		}
		require.NoError(t, unverified)
		require.Equal(t, &Unverified{p.empty, p.context, p.entries, p.scheme, p.signature, p.verifyData}, u)
		if p.empty {
			require.Equal(t, b, appendFinished(nil, p.verifyData))
			return
		}
		require.NotEmpty(t, p.entries)
		require.LessOrEqual(t, len(p.entries), MaxChain)
		require.Equal(t, p.certificate, appendCertificate(nil, p.context, p.entries))
		require.Equal(t, p.verify, appendVerify(nil, p.scheme, p.signature))
		require.Equal(t, b, appendFinished(append(bytes.Clone(p.certificate), p.verify...), p.verifyData))
	})
}

// fixedIdentity is the same in every process, as fuzzing runs several: an Ed25519
// key and a certificate that sign without randomness.
func fixedIdentity(f *testing.F) *Identity {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(f, err)
	return identity(f, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

// Property: no message but the one that was made is valid, and the one that was
// made never stops being.
func FuzzValidate(f *testing.F) {
	p := exporterPair(f)
	o := RequestOptions{Context: []byte("a request that is answered"), OCSP: true, SCT: true, Extensions: []Extension{{Type: 0xff00}}}
	r, valid := exchange(f, p.client, p.server, o, fixedIdentity(f), Extension{0xff00, []byte("own")})
	refused, received := ask(f, p.client, p.server, RequestOptions{Context: []byte("a request that is refused")})
	refusal, err := p.server.Refuse(received)
	require.NoError(f, err)
	_, authenticators := corpus(f)
	seed(f, append(authenticators, valid, refusal)...)
	f.Fuzz(func(t *testing.T, b []byte) {
		peer, err := p.client.Validate(again(r), b, anyChain)
		if bytes.Equal(b, valid) {
			require.NoError(t, err)
			return
		}
		require.Nil(t, peer)
		requirePeerFault(t, err, OpValidate, 0)
		_, err = p.client.Validate(again(refused), b, anyChain)
		require.Equal(t, bytes.Equal(b, refusal), errors.Is(err, ErrRefused))
	})
}

// Property: a block that is read encodes to the same bytes and has no type twice;
// understanding it fails with a reason and never otherwise.
func FuzzExtensions(f *testing.F) {
	requests, _ := corpus(f)
	var blocks [][]byte
	for _, b := range requests {
		blocks = append(blocks, b[5+int(b[4]):])
	}
	seed(f, blocks...)
	id := ecdsaIdentity(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := cryptobyte.String(b)
		list, err := readExtensions(&s)
		if err != nil {
			require.Nil(t, list)
			return
		}
		require.Equal(t, b[:len(b)-len(s)], appendExtensions(nil, list))
		types := map[uint16]bool{}
		for _, e := range list {
			require.False(t, types[e.Type])
			types[e.Type] = true
		}
		o, err := parseOffer(list, typeClientCertificateRequest)
		var reason *failure
		if err != nil {
			require.Nil(t, o)
			require.True(t, errors.As(err, &reason))
			return
		}
		require.True(t, o.has(extSignatureAlgorithms))
		_, err = o.entries(id, nil)
		require.NoError(t, err)
		scheme, err := o.accepts(id)
		require.True(t, err != nil || scheme.id == tls.ECDSAWithP256AndSHA256)
	})
}

// Property: an answer to any request that is taken is valid for whoever sent it.
func FuzzAnswer(f *testing.F) {
	requests, _ := corpus(f)
	seed(f, requests...)
	id := ecdsaIdentity(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p := exporterPair(t)
		received, err := p.server.ReceiveRequest(b)
		if err != nil {
			return
		}
		answer, err := p.server.Authenticate(context.Background(), received, id)
		if err != nil {
			require.ErrorIs(t, err, ErrNoIdentity)
			return
		}
		sent := &Request{parsedRequest: received.parsedRequest, offer: received.offer, session: p.client}
		peer, err := p.client.Validate(sent, answer, anyChain)
		require.NoError(t, err)
		require.Equal(t, received.Context(), peer.Context())
	})
}

// Property: a key that is read is one that may verify, and verifying a signature by
// it comes back whatever the numbers in it are.
func FuzzPSSKey(f *testing.F) {
	var seeds [][]byte
	for _, params := range [][]byte{nil, sha2Params(crypto.SHA256), pssParams(oidSHA2[crypto.SHA384], oidMGF1, oidSHA2[crypto.SHA384], -1)} {
		c, err := x509.ParseCertificate(pssLeaf(f, params).Certificate[0])
		require.NoError(f, err)
		seeds = append(seeds, c.RawSubjectPublicKeyInfo)
	}
	seed(f, seeds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := pssKeyOf(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCertificate)
			return
		}
		bits := key.key.(*rsa.PublicKey).N.BitLen()
		require.True(t, bits >= minRSABits && bits <= maxRSABits)
		for _, s := range schemeTable {
			if key.fits(s) {
				require.Equal(t, keyRSAPSS, s.kind)
				require.False(t, s.verify(key.key, b, make([]byte, (bits+7)/8)))
			}
		}
	})
}

// Property: nothing is good but what the CA signed, whatever surrounds it.
func FuzzCheckStaple(f *testing.F) {
	cert := ownLeaf().Leaf
	good := staple(f, cert, nil, nil, newCA().Signer())
	revoked := staple(f, cert, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }, nil, newCA().Signer())
	delegated := staple(f, cert, nil, responder(newKey(), x509.ExtKeyUsageServerAuth, now.Add(-time.Hour), now.Add(time.Hour)), newKey())
	seed(f, good, revoked, delegated)
	signed, err := ocsp.ParseResponse(good, nil)
	require.NoError(f, err)
	verified := []*x509.Certificate{cert, newCA().Intermediate}
	f.Fuzz(func(t *testing.T, b []byte) {
		if CheckStaple(b, verified, now) != nil {
			require.NotEqual(t, good, b)
			return
		}
		accepted, err := ocsp.ParseResponse(b, nil)
		require.NoError(t, err)
		require.Equal(t, signed.TBSResponseData, accepted.TBSResponseData)
	})
}
