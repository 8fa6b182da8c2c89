package attestation

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// B-5, B-9, B-13, B-16, C-4, C-5, D-1, D-2: both directions on real connections,
// with both hashes and both profiles.
func TestAttestAndAppraise(t *testing.T) {
	t.Parallel()
	for _, suite := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384} {
		for _, p := range []Profile{Expat04(), Expat03()} {
			t.Run(tls.CipherSuiteName(suite)+" "+p.String(), func(t *testing.T) {
				t.Parallel()
				c := connect(t, suite)
				for _, d := range []struct{ rp, attester *authenticator.Session }{{c.client, c.server}, {c.server, c.client}} {
					peer := attested(t, d.rp, d.attester, p, honest(t))
					r, err := Appraise(context.Background(), p, peer, strict())
					require.NoError(t, err)
					require.Equal(t, TierAffirming, r.Tier())
					require.Equal(t, peer.Context(), r.Binding().Context())
					require.Equal(t, identity().SPKI(), r.Binding().SPKI())
				}
			})
		}
	}
}

// C-2: the label is part of the profile; neither side takes the other's.
func TestProfilesDoNotMix(t *testing.T) {
	t.Parallel()
	c := exporterPair()
	peer := attested(t, c.client, c.server, Expat03(), honest(t))
	_, err := Appraise(context.Background(), Expat04(), peer, strict())
	require.ErrorIs(t, err, ErrRejected)
	require.ErrorIs(t, err, errBinder)
	require.NotErrorIs(t, err, errKeyHash)
	require.Equal(t, "expat-04 expat-03", Expat04().String()+" "+Expat03().String())
}

// B-5, B-6, B-8, B-21: what a request may offer.
func TestOffered(t *testing.T) {
	t.Parallel()
	offer := func(typ uint16, data ...byte) authenticator.RequestOptions {
		return authenticator.RequestOptions{Extensions: []authenticator.Extension{{Type: typ, Data: data}}}
	}
	for _, tc := range []struct {
		name    string
		p       Profile
		o       authenticator.RequestOptions
		offered bool
		err     error
	}{
		{"offered", Expat04(), offering(Expat04()), true, nil},
		{"by the other profile, same code point", Expat03(), offering(Expat04()), true, nil},
		{"not offered", Expat04(), authenticator.RequestOptions{}, false, nil},
		{"another extension", Expat04(), offer(0xffff), false, nil},
		{"offer that is not empty", Expat04(), offer(0xff00, 0), false, ErrMalformed},
		{"zero profile", Profile{}, offering(Expat04()), false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := exporterPair()
			_, received := ask(t, c.client, c.server, tc.o)
			offered, err := tc.p.Offered(received)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.offered, offered)
			if tc.offered {
				return
			}
			want := ErrNotOffered
			if tc.err != nil {
				want = tc.err
			}
			_, err = Attest(context.Background(), tc.p, received, identity(), honest(t), []string{mediaType})
			require.ErrorIs(t, err, want)
		})
	}
	require.Equal(t, authenticator.Extension{Type: 0xff00}, Expat04().Offer()) // B-22
}

// G, DESIGN 5: the first of our types that the peer takes.
func TestCommon(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ ours, theirs, want []string }{
		{[]string{"a/b", "c/d"}, []string{"c/d", "a/b"}, []string{"a/b", "c/d"}},
		{[]string{"a/b", "c/d"}, []string{"C/D"}, []string{"c/d"}},
		{[]string{`a/b; eat_profile="p"`}, []string{`a/b;eat_profile=p`}, []string{`a/b; eat_profile="p"`}},
		{[]string{"a/b"}, []string{`a/b; eat_profile="p"`}, nil},
		{[]string{"a/b"}, nil, nil},
		{nil, []string{"a/b"}, nil},
		{[]string{""}, []string{""}, nil},
	} {
		require.Equal(t, tc.want, Common(tc.ours, tc.theirs), "%q %q", tc.ours, tc.theirs)
	}
}

// What an Attester can do wrong, and that none of it reaches the peer.
func TestAttestErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("no quote")
	says := func(m *cmw.Message, err error) attester {
		return attester{[]string{mediaType}, func(context.Context, Binding, []string) (*cmw.Message, error) { return m, err }}
	}
	with := func(typ string, size int, ind cmw.Indicator) *cmw.Message {
		return must(cmw.NewRecord(typ, make([]byte, size), ind))
	}
	overhead := len(must(with(mediaType, 60000, cmw.Evidence).MarshalCBOR())) - 60000
	largest := cmw.MaxSize - overhead
	for _, tc := range []struct {
		name   string
		a      Attester
		accept []string
		want   []error // none: accepted
	}{
		{"Evidence", says(with(mediaType, 10, cmw.Evidence), nil), []string{mediaType}, nil},
		{"B-13 Attestation Result", says(with(mediaType, 10, cmw.AttestationResults), nil), []string{mediaType}, nil},
		{"no indicator", says(with(mediaType, 10, 0), nil), []string{mediaType}, nil},
		{"reference values", says(with(mediaType, 10, cmw.ReferenceValues), nil), []string{mediaType}, []error{ErrAttester, ErrMalformed}},
		{"two indicators", says(with(mediaType, 10, cmw.Evidence|cmw.AttestationResults), nil), []string{mediaType}, []error{ErrAttester, ErrMalformed}},
		{"B-3 as large as fits", says(with(mediaType, largest, cmw.Evidence), nil), []string{mediaType}, nil},
		{"B-3 too large", says(with(mediaType, largest+1, cmw.Evidence), nil), []string{mediaType}, []error{ErrTooLarge}},
		{"of a type the peer does not take", says(with("a/b", 10, cmw.Evidence), nil), []string{mediaType}, []error{ErrAttester, ErrMediaType}},
		{"no type in common", says(nil, nil), []string{"a/b"}, []error{ErrMediaType}},
		{"peer takes none", says(nil, nil), nil, []error{ErrMediaType}},
		{"fails", says(nil, broken), []string{mediaType}, []error{ErrAttester, broken}},
		{"returns nothing", says(nil, nil), []string{mediaType}, []error{ErrAttester}},
		{"returns a message not made", says(&cmw.Message{}, nil), []string{mediaType}, []error{ErrAttester}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := exporterPair()
			_, received := ask(t, c.client, c.server, offering(Expat04()))
			e, err := Attest(context.Background(), Expat04(), received, identity(), tc.a, tc.accept)
			for _, want := range tc.want {
				require.ErrorIs(t, err, want)
			}
			if tc.want != nil {
				require.Zero(t, e)
				return
			}
			require.NoError(t, err)
			require.LessOrEqual(t, len(e.Data), 65531)
			require.Equal(t, len(e.Data)-2, int(e.Data[0])<<8|int(e.Data[1])) // B-3
			_, err = c.server.Authenticate(context.Background(), received, identity(), e)
			require.NoError(t, err) // B-3: the largest fits its entry
		})
	}
}

// C-6, C-8: a context without enough randomness is not attested, on either side.
func TestShortContext(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{0: ErrContext, 15: ErrContext, 16: nil, 255: nil} {
		c := exporterPair()
		o := offering(Expat04())
		o.Context = []byte(strings.Repeat("c", n))
		_, received := ask(t, c.client, c.server, o)
		_, err := Attest(context.Background(), Expat04(), received, identity(), honest(t), []string{mediaType})
		require.ErrorIs(t, err, want, "%d bytes", n)

		c = exporterPair()
		e, err := Expat04().encode(must(cmw.NewRecord(mediaType, []byte("evidence"), cmw.Evidence)))
		require.NoError(t, err)
		peer := answer(t, c.client, c.server, o, e)
		_, err = Appraise(context.Background(), Expat04(), peer, verifier{[]string{mediaType}, func(_ context.Context, b Binding, _ *cmw.Message) (*Result, error) {
			return NewResult(b, affirming())
		}})
		require.ErrorIs(t, err, want, "%d bytes", n)
	}
}

// Nothing nil switches a check off.
func TestNilArguments(t *testing.T) {
	t.Parallel()
	c := exporterPair()
	ctx := context.Background()
	_, received := ask(t, c.client, c.server, offering(Expat04()))
	_, err := Attest(ctx, Expat04(), nil, identity(), honest(t), []string{mediaType})
	require.ErrorIs(t, err, ErrMisuse)
	_, err = Attest(ctx, Expat04(), received, nil, honest(t), []string{mediaType})
	require.ErrorIs(t, err, ErrMisuse)
	_, err = Attest(ctx, Expat04(), received, identity(), nil, []string{mediaType})
	require.ErrorIs(t, err, ErrMisuse)
	peer := attested(t, c.client, c.server, Expat04(), honest(t))
	_, err = Appraise(ctx, Expat04(), nil, strict())
	require.ErrorIs(t, err, ErrMisuse)
	_, err = Appraise(ctx, Expat04(), peer, nil)
	require.ErrorIs(t, err, ErrMisuse)
	_, err = Appraise(ctx, Profile{}, peer, strict())
	require.ErrorIs(t, err, ErrMissing)
}
