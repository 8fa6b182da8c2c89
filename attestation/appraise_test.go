package attestation

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

func evidence() []byte {
	return must(must(cmw.NewRecord(mediaType, []byte("sealed"), cmw.Evidence)).MarshalCBOR())
}

// prefixed is cmw_data of a message, whatever its size.
func prefixed(data []byte) []byte {
	return append([]byte{byte(len(data) >> 8), byte(len(data))}, data...)
}

// B-3, B-4, B-5, B-20: what the extension may hold before a Verifier sees it.
func TestExtract(t *testing.T) {
	t.Parallel()
	collection := must(must(cmw.NewCollection("", []cmw.Item{
		{Label: cmw.TextLabel("one"), Message: must(cmw.NewRecord(mediaType, []byte("1"), cmw.Evidence))},
		{Label: cmw.TextLabel("two"), Message: must(cmw.NewRecord("a/b", []byte("2"), cmw.Evidence))},
	})).MarshalCBOR())
	endorsement := must(must(cmw.NewRecord(mediaType, []byte("e"), cmw.Endorsements)).MarshalCBOR())
	json := []byte(`["` + mediaType + `","c2VhbGVk",4]`)
	longType := must(must(cmw.NewRecord("a/"+strings.Repeat("b", 100)+`;p="`+strings.Repeat("q", 5000)+`"`, []byte("1"), 0)).MarshalCBOR())
	for _, tc := range []struct {
		name string
		data []byte
		want error // nil: reaches the Verifier
	}{
		{"CBOR", prefixed(evidence()), nil},
		{"JSON", prefixed(json), nil},
		{"no cmw_data", nil, ErrMalformed},
		{"empty cmw_data", []byte{0, 0}, ErrMalformed},
		{"half a prefix", []byte{0}, ErrMalformed},
		{"prefix too short", append([]byte{0, byte(len(evidence()) - 1)}, evidence()...), ErrMalformed},
		{"prefix too long", append([]byte{0, byte(len(evidence()) + 1)}, evidence()...), ErrMalformed},
		{"no prefix", evidence(), ErrMalformed},
		{"trailing byte", append(prefixed(evidence()), 0), ErrMalformed},
		{"trailing byte inside", prefixed(append(evidence(), 0)), ErrMalformed},
		{"not a CMW", prefixed([]byte("sealed")), ErrMalformed},
		{"endorsement", prefixed(endorsement), ErrMalformed},
		{"one leaf of another type", prefixed(collection), ErrMediaType},
		{"long media type", prefixed(longType), ErrMediaType},
		{"unknown content format", prefixed([]byte{0x82, 0x19, 0xfd, 0xe7, 0x41, 1}), ErrMediaType},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := exporterPair()
			peer := answer(t, c.client, c.server, offering(Expat04()), authenticator.Extension{Type: 0xff00, Data: tc.data})
			seen := false
			r, err := Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(_ context.Context, b Binding, m *cmw.Message) (*Result, error) {
				seen = true
				require.Equal(t, []byte("sealed"), m.Leaves()[0].Value)
				return NewResult(b, affirming())
			}})
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, tc.want == nil, seen)
			require.Equal(t, tc.want == nil, r != nil)
			if err != nil {
				require.Less(t, len(err.Error()), 500)
				require.NotContains(t, err.Error(), "sealed") // F-3
			}
		})
	}
}

// B-7, B-12, B-20: attestation that nobody asked for, or that nobody gave.
func TestOfferAndAnswer(t *testing.T) {
	t.Parallel()
	c := exporterPair()
	peer := answer(t, c.client, c.server, offering(Expat04()))
	_, err := Appraise(context.Background(), Expat04(), peer, strict())
	require.ErrorIs(t, err, ErrMissing)

	r, err := c.client.NewRequest(authenticator.RequestOptions{})
	require.NoError(t, err)
	b := forge(t, c.server, r, []authenticator.Extension{{Type: 0xff00, Data: prefixed(evidence())}}, nil)
	_, err = c.client.Validate(r, b, anyChain)
	require.ErrorIs(t, err, authenticator.ErrUnsupportedExtension)
	var e *authenticator.Error
	require.ErrorAs(t, err, &e)
	require.EqualValues(t, 110, e.Alert) // unsupported_extension
	require.Equal(t, authenticator.FaultPeer, e.Fault)
}

// B-1: in the leaf's entry and in no other.
func TestPlacement(t *testing.T) {
	t.Parallel()
	attestation := []authenticator.Extension{{Type: 0xff00, Data: prefixed(evidence())}}
	for _, tc := range []struct {
		name               string
		leaf, intermediate []authenticator.Extension
		want               error
	}{
		{"leaf", attestation, nil, ErrRejected}, // as far as the Verifier
		{"intermediate", nil, attestation, ErrPlacement},
		{"both", attestation, attestation, ErrPlacement},
		{"empty in the intermediate", attestation, []authenticator.Extension{{Type: 0xff00}}, ErrPlacement},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := exporterPair()
			r, err := c.client.NewRequest(offering(Expat04()))
			require.NoError(t, err)
			peer, err := c.client.Validate(r, forge(t, c.server, r, tc.leaf, tc.intermediate), anyChain)
			require.NoError(t, err)
			_, err = Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(context.Context, Binding, *cmw.Message) (*Result, error) {
				return nil, Reject(errBinder)
			}})
			require.ErrorIs(t, err, tc.want)
		})
	}
}

// forge answers r with the given extensions in the entries of leaf and intermediate,
// which the authenticator package does not do.
func forge(t testing.TB, s *authenticator.Session, r *authenticator.Request, leaf, intermediate []authenticator.Extension) []byte {
	t.Helper()
	message := func(typ uint8, body cryptobyte.BuilderContinuation) []byte {
		var b cryptobyte.Builder
		b.AddUint8(typ)
		b.AddUint24LengthPrefixed(body)
		return b.BytesOrPanic()
	}
	certificate := message(11, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(r.Context()) })
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			for i, extensions := range [][]authenticator.Extension{leaf, intermediate} {
				b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(cert().Certificate[i]) })
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
					for _, e := range extensions {
						b.AddUint16(e.Type)
						b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(e.Data) })
					}
				})
			}
		})
	})
	export := func(label string) []byte {
		return must(s.Export("EXPORTER-"+s.Role().String()+" authenticator "+label, nil, 32))
	}
	h := sha256.New()
	h.Write(export("handshake context"))
	h.Write(r.Bytes())
	h.Write(certificate)
	digest := sha256.Sum256(append([]byte(strings.Repeat(" ", 64)+"Exported Authenticator\x00"), h.Sum(nil)...))
	signature := must(newKey().Sign(rand.Reader, digest[:], crypto.SHA256))
	verify := message(15, func(b *cryptobyte.Builder) {
		b.AddUint16(0x0403)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(signature) })
	})
	h.Write(verify)
	mac := hmac.New(sha256.New, export("finished key"))
	mac.Write(h.Sum(nil))
	finished := message(20, func(b *cryptobyte.Builder) { b.AddBytes(mac.Sum(nil)) })
	return append(append(certificate, verify...), finished...)
}

// B-2: an unasked authenticator attests nothing, whatever it carries.
func TestSpontaneousIsNotAttested(t *testing.T) {
	t.Parallel()
	c := exporterPair()
	hello := authenticator.ClientHello{SignatureSchemes: authenticator.SignatureSchemes(), Extensions: []uint16{0xff00}}
	b, err := c.server.AuthenticateSpontaneous(context.Background(), hello, identity(), authenticator.Extension{Type: 0xff00, Data: prefixed(evidence())})
	require.NoError(t, err)
	peer, err := c.client.ValidateSpontaneous(hello, b, anyChain)
	require.NoError(t, err)
	_, err = Appraise(context.Background(), Expat04(), peer, strict())
	require.ErrorIs(t, err, ErrConnection)
}

// B-14, B-18, B-20: what a Verifier can answer.
func TestVerifierAnswers(t *testing.T) {
	t.Parallel()
	broken := errors.New("no answer from the service")
	other := exporterPair()
	for _, tc := range []struct {
		name string
		f    func(b Binding) (*Result, error)
		want []error // none: accepted
	}{
		{"yes", func(b Binding) (*Result, error) { return NewResult(b, affirming()) }, nil},
		{"no", func(Binding) (*Result, error) { return nil, Reject(errBinder, errKeyHash) }, []error{ErrRejected, errBinder, errKeyHash}},
		{"cannot read it", func(Binding) (*Result, error) { return nil, ErrMalformed }, []error{ErrMalformed}},
		{"cannot tell", func(Binding) (*Result, error) { return nil, ErrUnavailable }, []error{ErrUnavailable}},
		{"any other error", func(Binding) (*Result, error) { return nil, broken }, []error{ErrUnavailable, broken}},
		{"neither", func(Binding) (*Result, error) { return nil, nil }, []error{ErrUnavailable}},
		{"both", func(b Binding) (*Result, error) { return must(NewResult(b, affirming())), broken }, []error{ErrUnavailable}},
		{"a Result made of nothing", func(Binding) (*Result, error) { return &Result{}, nil }, []error{ErrWrongResult}},
		{"a Result with misuse", func(b Binding) (*Result, error) { return NewResult(b, ResultOptions{}) }, []error{ErrUnavailable, ErrMisuse}},
		{"E-9 a Result for another connection", func(b Binding) (*Result, error) {
			mine := must(Expat04().bind(other.client, []byte("a context of sixteen bytes or more"), b.SPKI()))
			return NewResult(mine, affirming())
		}, []error{ErrWrongResult}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := exporterPair()
			peer := attested(t, c.client, c.server, Expat04(), honest(t))
			r, err := Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(_ context.Context, b Binding, _ *cmw.Message) (*Result, error) {
				return tc.f(b)
			}})
			for _, want := range tc.want {
				require.ErrorIs(t, err, want)
			}
			if tc.want != nil {
				require.Nil(t, r)
				return
			}
			require.NoError(t, err)
		})
	}
}

// E-9, C-5: a Result kept from an earlier request on the same connection, and
// Evidence kept from it.
func TestKeptFromAnEarlierRequest(t *testing.T) {
	t.Parallel()
	c := exporterPair()
	first := attested(t, c.client, c.server, Expat04(), honest(t))
	kept, err := Appraise(context.Background(), Expat04(), first, strict())
	require.NoError(t, err)

	second := attested(t, c.client, c.server, Expat04(), honest(t))
	_, err = Appraise(context.Background(), Expat04(), second, verifier{[]string{mediaType}, func(context.Context, Binding, *cmw.Message) (*Result, error) {
		return kept, nil
	}})
	require.ErrorIs(t, err, ErrWrongResult)

	replayed := answer(t, c.client, c.server, offering(Expat04()), first.Entries()[0].Extensions[0])
	_, err = Appraise(context.Background(), Expat04(), replayed, strict())
	require.ErrorIs(t, err, ErrRejected)
	require.ErrorIs(t, err, errBinder)
}
