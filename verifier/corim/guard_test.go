package corim

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/veraison/corim/comid"
)

// A panic of a decoder is an error. comid.Instance has one on a value that is absent.
func TestGuard(t *testing.T) {
	t.Parallel()
	err := guard(func() error { _ = comid.Instance{}.Type(); return nil })
	require.EqualError(t, err, "the decoder panicked with a runtime.errorString")
	require.NoError(t, guard(func() error { return nil }))
	var into panicking
	require.ErrorIs(t, decode("step", []byte{0x01}, &into), ErrFormat)
}

type panicking struct{}

func (*panicking) UnmarshalCBOR([]byte) error { panic("bytes of others") }
