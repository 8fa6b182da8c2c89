package attacktest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmw"
)

func TestSign(t *testing.T) {
	t.Parallel()
	content := []byte("content")
	s256, s384, s512 := sha256.Sum256(content), sha512.Sum384(content), sha512.Sum512(content)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	curve := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		require.NoError(t, err)
		return k
	}
	p256, p384, p521 := curve(elliptic.P256()), curve(elliptic.P384()), curve(elliptic.P521())
	for scheme, c := range map[tls.SignatureScheme]struct {
		key    crypto.Signer
		verify func(signature []byte) bool
	}{
		tls.Ed25519:                {edKey, func(s []byte) bool { return ed25519.Verify(public, content, s) }},
		tls.ECDSAWithP256AndSHA256: {p256, func(s []byte) bool { return ecdsa.VerifyASN1(&p256.PublicKey, s256[:], s) }},
		tls.ECDSAWithP384AndSHA384: {p384, func(s []byte) bool { return ecdsa.VerifyASN1(&p384.PublicKey, s384[:], s) }},
		tls.ECDSAWithP521AndSHA512: {p521, func(s []byte) bool { return ecdsa.VerifyASN1(&p521.PublicKey, s512[:], s) }},
		tls.PSSWithSHA256:          {rsaKey, func(s []byte) bool { return rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA256, s256[:], s, pss) == nil }},
		tls.PSSWithSHA384:          {rsaKey, func(s []byte) bool { return rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA384, s384[:], s, pss) == nil }},
		tls.PSSWithSHA512:          {rsaKey, func(s []byte) bool { return rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA512, s512[:], s, pss) == nil }},
	} {
		signature, err := sign(c.key, scheme, content)
		require.NoError(t, err, "%v", scheme)
		require.True(t, c.verify(signature), "%v", scheme)
	}
	_, err = sign(rsaKey, tls.PKCS1WithSHA256, content)
	var not inapplicable
	require.ErrorAs(t, err, &not)
}

func TestSplit(t *testing.T) {
	t.Parallel()
	m, err := split([]byte("\x0b\x00\x00\x01a\x0f\x00\x00\x02bc\x14\x00\x00\x00"))
	require.NoError(t, err)
	require.Equal(t, messages{[]byte("\x0b\x00\x00\x01a"), []byte("\x0f\x00\x00\x02bc"), []byte("\x14\x00\x00\x00")}, m)
	for _, short := range []string{"", "\x0b", "\x0b\x00\x00\x01a", "\x0b\x00\x00\x01a\x0f\x00\x00\x02bc\x14\x00\x00"} {
		_, err := split([]byte(short))
		require.Error(t, err, "%q", short)
	}
}

// One byte of the first leaf is changed, whatever the form of the message.
func TestTampered(t *testing.T) {
	t.Parallel()
	record, err := cmw.NewRecord("application/vnd.x", []byte("good"), cmw.Evidence)
	require.NoError(t, err)
	tag, err := cmw.NewTag("application/eat+cwt", []byte("good"))
	require.NoError(t, err)
	list, err := cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel("a"), Message: tag}, {Label: cmw.TextLabel("b"), Message: record}})
	require.NoError(t, err)
	for _, m := range []*cmw.Message{record, tag, list} {
		bad, err := tampered(m)
		require.NoError(t, err)
		require.Equal(t, m.Kind(), bad.Kind())
		before, after := m.Leaves(), bad.Leaves()
		require.Equal(t, "gooe", string(after[0].Value))
		require.Equal(t, before[1:], after[1:])
		after[0].Value = before[0].Value
		require.Equal(t, before, after)
	}
}
