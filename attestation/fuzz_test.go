package attestation

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// Property: whatever a peer puts into the extension, the outcome is a Result for
// this binding or one of the documented errors, and a message that is taken fills
// the extension.
func FuzzAppraise(f *testing.F) {
	collection := must(must(cmw.NewCollection("", []cmw.Item{
		{Label: cmw.TextLabel("one"), Message: must(cmw.NewRecord(mediaType, []byte("1"), cmw.Evidence))},
	})).MarshalCBOR())
	seeds := [][]byte{
		prefixed(evidence()), prefixed(collection), prefixed([]byte(`["` + mediaType + `","c2VhbGVk",4]`)), evidence(), {0, 0}, {0, 1},
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	id := identity()
	documented := []error{ErrMissing, ErrPlacement, ErrMalformed, ErrMediaType}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := exporterPair()
		r, received := ask(t, c.client, c.server, offering(Expat04()))
		b, err := c.server.Authenticate(context.Background(), received, id, authenticator.Extension{Type: 0xff00, Data: data})
		if err != nil {
			require.ErrorIs(t, err, authenticator.ErrLimit)
			return
		}
		peer, err := c.client.Validate(r, b, anyChain)
		require.NoError(t, err)
		result, err := Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(_ context.Context, b Binding, m *cmw.Message) (*Result, error) {
			require.NotEmpty(t, m.Leaves())
			return NewResult(b, affirming())
		}})
		if err != nil {
			require.Nil(t, result)
			known := false
			for _, want := range documented {
				known = known || errors.Is(err, want)
			}
			require.True(t, known, "%v", err)
			return
		}
		require.Equal(t, len(data), 2+int(data[0])<<8+int(data[1]))
		require.Equal(t, r.Context(), result.Binding().Context())
	})
}
