package authenticator

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// requirePeerFault accepts any reason, but the peer's fault.
func requirePeerFault(t testing.TB, err error, op Op, at int) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e, "byte %d", at)
	require.Equal(t, op, e.Op, "byte %d", at)
	require.Equal(t, FaultPeer, e.Fault, "byte %d", at)
	require.NotErrorIs(t, err, ErrRefused, "byte %d", at)
}

// again is r as if it had not been answered, to try many answers.
func again(r *Request) *Request {
	return &Request{parsedRequest: r.parsedRequest, offer: r.offer, session: r.session}
}

// of an authenticator every byte counts.
func TestAuthenticatorEveryByte(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	own := Extension{0xff00, []byte("own")}
	r, b := exchange(t, p.client, p.server, RequestOptions{Extensions: []Extension{{Type: 0xff00}}}, ecdsaIdentity(t), own)
	for n := range b {
		peer, err := p.client.Validate(again(r), b[:n], anyChain)
		requirePeerFault(t, err, OpValidate, n)
		require.Nil(t, peer)
		if n > 0 { // too short or another message
			_, err = Context(b[:n])
			requirePeerFault(t, err, OpContext, n)
		}
	}
	for i := range b {
		for _, mask := range []byte{1, 0x80, 1 + byte(rand.IntN(255))} {
			changed := bytes.Clone(b)
			changed[i] ^= mask
			peer, err := p.client.Validate(again(r), changed, anyChain)
			requirePeerFault(t, err, OpValidate, i)
			require.Nil(t, peer)
		}
	}
	_, err := p.client.Validate(again(r), append(bytes.Clone(b), 0), anyChain)
	requireError(t, err, ErrDecode, OpValidate, FaultPeer)
	_, err = p.client.Validate(again(r), append(bytes.Clone(b), b...), anyChain)
	requireError(t, err, ErrDecode, OpValidate, FaultPeer)
	_, err = p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
}

// of a refusal too.
func TestRefusalEveryByte(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	r, received := ask(t, p.client, p.server, RequestOptions{})
	b, err := p.server.Refuse(received)
	require.NoError(t, err)
	for i := range b {
		_, err := p.client.Validate(again(r), b[:i], anyChain)
		requirePeerFault(t, err, OpValidate, i)
		changed := bytes.Clone(b)
		changed[i] ^= 1 + byte(rand.IntN(255))
		_, err = p.client.Validate(again(r), changed, anyChain)
		requirePeerFault(t, err, OpValidate, i)
	}
	_, err = p.client.Validate(again(r), append(bytes.Clone(b), 0), anyChain)
	requireError(t, err, ErrUnexpectedMessage, OpValidate, FaultPeer)
	_, err = p.client.Validate(r, b, anyChain)
	requireError(t, err, ErrRefused, OpValidate, FaultPeer)
}

// a request changed on its way is refused on arrival, or what answers
// it does not answer the request that was sent.
func TestRequestEveryByte(t *testing.T) {
	t.Parallel()
	id := ecdsaIdentity(t)
	p := exporterPair(t)
	r, err := p.client.NewRequest(RequestOptions{ServerName: "server.test", OCSP: true, Extensions: []Extension{{0xff00, []byte("x")}}})
	require.NoError(t, err)
	b := r.Bytes()
	for n := range b {
		_, err := p.server.ReceiveRequest(b[:n])
		requirePeerFault(t, err, OpAuthenticate, n)
	}
	_, err = p.server.ReceiveRequest(append(bytes.Clone(b), 0))
	requireError(t, err, ErrDecode, OpAuthenticate, FaultPeer)
	require.Empty(t, p.server.used)

	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 1 + byte(rand.IntN(255))
		received, err := p.server.ReceiveRequest(changed)
		if err != nil {
			requirePeerFault(t, err, OpAuthenticate, i)
			continue
		}
		answer, err := p.server.Authenticate(context.Background(), received, id)
		if err != nil {
			require.ErrorIs(t, err, ErrNoIdentity, "byte %d", i)
			continue
		}
		_, err = p.client.Validate(again(r), answer, anyChain)
		requirePeerFault(t, err, OpValidate, i)
		delete(p.server.used, string(received.Context()))
	}
}

// other messages, other orders, other lengths.
func TestAuthenticatorMessages(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	r, b := exchange(t, p.client, p.server, RequestOptions{}, ecdsaIdentity(t))
	certificate, rest := cutMessage(t, b, 11)
	verify, finished := cutMessage(t, rest, 15)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	other := func(typ byte, msg []byte) []byte { return append([]byte{typ}, msg[1:]...) }
	shortVerify := []byte{15, 0, 0, 4, 4, 3, 0, 1}
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrDecode},
		{"a header cut", []byte{20, 0, 0}, ErrDecode},
		{"no Certificate", join(verify, finished), ErrUnexpectedMessage},
		{"no CertificateVerify", join(certificate, finished), ErrUnexpectedMessage},
		{"no Finished", join(certificate, verify), ErrDecode},
		{"Certificate alone", certificate, ErrDecode},
		{"Finished first", join(finished, certificate, verify), ErrUnexpectedMessage},
		{"CertificateVerify last", join(certificate, finished, verify), ErrUnexpectedMessage},
		{"CertificateVerify twice", join(certificate, verify, verify), ErrUnexpectedMessage},
		{"Finished twice", join(b, finished), ErrDecode},
		{"a request", r.Bytes(), ErrUnexpectedMessage},
		{"CompressedCertificate", join(other(25, certificate), verify, finished), ErrUnexpectedMessage},
		{"CertificateVerify cut inside", join(certificate, shortVerify, finished), ErrDecode},
		{"12-byte headers of DTLS", join([]byte{11, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0}, b[4:]), ErrDecode},
		{"I-17 too large", make([]byte, MaxAuthenticator+1), ErrLimit},
		{"as large as read", make([]byte, MaxAuthenticator), ErrUnexpectedMessage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := p.client.Validate(again(r), tc.b, anyChain)
			requireError(t, err, tc.want, OpValidate, FaultPeer)
			if tc.name != "a request" {
				_, err = Context(tc.b)
				requirePeerFault(t, err, OpContext, 0)
			}
			_, err = p.client.ValidateSpontaneous(hello(), tc.b, anyChain)
			requireError(t, err, tc.want, OpValidate, FaultPeer)
		})
	}
	_, err := parseAuthenticator(make([]byte, MaxAuthenticator+1))
	require.ErrorIs(t, err, ErrLimit)
	_, err = parseRequest(make([]byte, MaxRequest+1))
	require.ErrorIs(t, err, ErrLimit)
}

// I-17: no authenticator is made that a peer of this package would not read.
func TestAuthenticateTooLarge(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	_, received := ask(t, p.client, p.server, RequestOptions{})
	id := *ecdsaIdentity(t)
	id.entries = []Entry{{Certificate: make([]byte, MaxAuthenticator)}}
	_, err := p.server.Authenticate(context.Background(), received, &id)
	requireError(t, err, ErrLimit, OpAuthenticate, FaultLocal)
}

// What a Peer holds is a copy: the caller may use its buffer again.
func TestPeerOwnsItsMemory(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	r, b := exchange(t, p.client, p.server, RequestOptions{}, ecdsaIdentity(t))
	peer, err := p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
	clear(b)
	require.Equal(t, r.Context(), peer.Context())
	require.Equal(t, ownLeaf().Certificate[0], peer.Entries()[0].Certificate)
}
