package passport

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// FuzzAppraise: of all messages, only one that carries the EAR is taken, even in the
// mode that demands least.
func FuzzAppraise(f *testing.F) {
	a, key := newAuthority(f), newKey(f)
	b := binding(f, key)
	token, _, err := a.Obtain(context.Background(), b)
	require.NoError(f, err)
	good, err := record(token)
	require.NoError(f, err)
	seed, err := good.MarshalCBOR()
	if err != nil || len(seed) == 0 {
		f.Fatal("no seeds")
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	v := a.verifier(f, unbound)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := cmw.Decode(data)
		if err != nil {
			return
		}
		r, err := v.Appraise(context.Background(), b, m)
		if err != nil {
			require.Nil(t, r)
			require.True(t, errors.Is(err, attestation.ErrMalformed) || errors.Is(err, attestation.ErrRejected), "%v", err)
			return
		}
		require.Equal(t, token, m.Value())
	})
}
