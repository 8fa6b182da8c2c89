package authenticator

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParseUnverified: what an authenticator says is read without its connection, and
// what is not of its form has the reason that Validate gives.
func TestParseUnverified(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	id := ecdsaIdentity(t)
	r, b := exchange(t, p.client, p.server, RequestOptions{Extensions: []Extension{{Type: 0xff00}}}, id, Extension{0xff00, []byte("own")})
	given, certificate := bytes.Clone(b), id.chain[0]
	u, err := ParseUnverified(b)
	require.NoError(t, err)
	clear(b)
	require.False(t, u.Empty)
	require.Equal(t, r.Context(), u.Context)
	require.Len(t, u.Entries, 2)
	require.Equal(t, Entry{certificate.Raw, []Extension{{0xff00, []byte("own")}}}, u.Entries[0])
	require.Equal(t, tls.ECDSAWithP256AndSHA256, u.Scheme)
	require.NotEmpty(t, u.Signature)
	require.Len(t, u.Finished, 32)

	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":   {nil, ErrDecode},
		"cut":       {given[:len(given)-1], ErrDecode},
		"trailing":  {append(bytes.Clone(given), 0), ErrDecode},
		"a request": {r.Bytes(), ErrUnexpectedMessage},
		"too large": {make([]byte, MaxAuthenticator+1), ErrLimit},
	} {
		u, err := ParseUnverified(c.bytes)
		require.Nil(t, u, name)
		requireError(t, err, c.want, OpContext, FaultPeer)
	}

	_, received := ask(t, p.client, p.server, RequestOptions{})
	refusal, err := p.server.Refuse(received)
	require.NoError(t, err)
	u, err = ParseUnverified(refusal)
	require.NoError(t, err)
	require.Equal(t, &Unverified{Empty: true, Finished: refusal[4:]}, u)
}
