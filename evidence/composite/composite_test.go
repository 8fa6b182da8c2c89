package composite_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/composite"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
)

var errPart = errors.New("the part is broken")

// part is an Attester made up by a test.
type part struct {
	types  []string
	attest func(context.Context, attestation.Binding, []string) (*cmw.Message, error)
}

func (p part) MediaTypes() []string { return p.types }

func (p part) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return p.attest(ctx, b, accept)
}

func record(t testing.TB, mediaType string, value []byte) *cmw.Message {
	t.Helper()
	m, err := cmw.NewRecord(mediaType, value, cmw.Evidence)
	require.NoError(t, err)
	return m
}

// text is a part whose Evidence is its name and the binder.
func text(t testing.TB, name string) part {
	return part{[]string{"text/" + name}, func(_ context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
		require.Equal(t, []string{"text/" + name}, accept)
		return record(t, accept[0], append([]byte(name), b.Binder()...)), nil
	}}
}

func failing(err error) part {
	return part{[]string{"text/failing"}, func(context.Context, attestation.Binding, []string) (*cmw.Message, error) { return nil, err }}
}

// run attests with a composite on a new connection.
func run(t testing.TB, ctx context.Context, a attestation.Attester) (attestation.Binding, *cmw.Message, error) {
	t.Helper()
	vendor, err := simulated.NewVendor("test", time.Now())
	require.NoError(t, err)
	device, err := vendor.NewDevice(simulated.DeviceOptions{})
	require.NoError(t, err)
	key, err := device.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	return evidencetest.Attest(ctx, crypto.SHA256, id, a)
}

// TestCollection: every part has a label, and the same binder (G-10).
func TestCollection(t *testing.T) {
	t.Parallel()
	a, err := composite.New(composite.Part{Label: "b", Attester: text(t, "two")}, composite.Part{Label: "a", Attester: text(t, "one")})
	require.NoError(t, err)
	require.Equal(t, []string{"text/one", "text/two"}, a.MediaTypes())
	b, m, err := run(t, context.Background(), a)
	require.NoError(t, err)
	require.Equal(t, cmw.KindCollection, m.Kind())
	require.Len(t, m.Items(), 2)
	for i, want := range []string{"one", "two"} {
		leaf := m.Leaves()[i]
		require.Equal(t, []cmw.Label{cmw.TextLabel([]string{"a", "b"}[i])}, leaf.Path)
		require.Equal(t, append([]byte(want), b.Binder()...), leaf.Value)
	}
}

// TestParallel: the parts work at the same time; each waits here for the other.
func TestParallel(t *testing.T) {
	t.Parallel()
	ready := make(chan struct{})
	meet := func(name string, first bool) part {
		return part{[]string{"text/" + name}, func(ctx context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
			if first {
				ready <- struct{}{}
			} else {
				<-ready
			}
			return record(t, "text/"+name, b.Binder()), nil
		}}
	}
	a, err := composite.New(composite.Part{Label: "a", Attester: meet("one", true)}, composite.Part{Label: "b", Attester: meet("two", false)})
	require.NoError(t, err)
	_, m, err := run(t, context.Background(), a)
	require.NoError(t, err)
	require.Len(t, m.Leaves(), 2)
}

// TestAllOrNothing: a part that fails ends the whole, unless it may be absent.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	pair, err := cmw.NewCollection("", []cmw.Item{{Label: cmw.TextLabel("x"), Message: record(t, "text/failing", []byte("x"))}})
	require.NoError(t, err)
	answer := func(m *cmw.Message) part {
		return part{[]string{"text/failing"}, func(context.Context, attestation.Binding, []string) (*cmw.Message, error) { return m, nil }}
	}
	panics := part{[]string{"text/failing"}, func(context.Context, attestation.Binding, []string) (*cmw.Message, error) { panic("secret Evidence") }}
	exits := part{[]string{"text/failing"}, func(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
		runtime.Goexit()
		return nil, nil
	}}
	for name, c := range map[string]struct {
		part part
		want string
	}{
		"error":      {failing(errPart), errPart.Error()},
		"panic":      {panics, "it panicked with a string"},
		"exit":       {exits, "it ended its goroutine"},
		"nothing":    {answer(nil), "it returned no message"},
		"collection": {answer(pair), "it returned a collection"},
	} {
		for _, optional := range []bool{false, true} {
			a, err := composite.New(composite.Part{Label: "good", Attester: text(t, "one")},
				composite.Part{Label: "bad", Attester: c.part, MayBeAbsent: optional})
			require.NoError(t, err)
			_, m, err := run(t, context.Background(), a)
			if optional {
				require.NoError(t, err, name)
				require.Len(t, m.Items(), 1, name)
				continue
			}
			require.Nil(t, m)
			require.ErrorIs(t, err, composite.ErrPart, name)
			var e *composite.PartError
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, "bad", e.Label)
			require.ErrorContains(t, err, c.want, name)
			require.NotContains(t, err.Error(), "secret")
			require.Equal(t, name == "error", errors.Is(err, errPart))
		}
	}
}

// TestAccept: a part of which the relying party takes nothing is not asked.
func TestAccept(t *testing.T) {
	t.Parallel()
	for _, optional := range []bool{false, true} {
		a, err := composite.New(composite.Part{Label: "a", Attester: text(t, "one")},
			composite.Part{Label: "b", Attester: failing(errPart), MayBeAbsent: optional})
		require.NoError(t, err)
		var b attestation.Binding
		m, err := a.Attest(context.Background(), b, []string{"text/one"})
		if optional {
			require.NoError(t, err)
			require.Len(t, m.Leaves(), 1)
			continue
		}
		require.ErrorIs(t, err, attestation.ErrMediaType)
		require.NotErrorIs(t, err, errPart)
	}
}

// TestContext: the first failure ends the other parts, and the end of ctx ends
// Attest whatever the parts do.
func TestContext(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	waits := part{[]string{"text/waits"}, func(ctx context.Context, _ attestation.Binding, _ []string) (*cmw.Message, error) {
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}
	a, err := composite.New(composite.Part{Label: "a", Attester: waits}, composite.Part{Label: "b", Attester: failing(errPart)})
	require.NoError(t, err)
	_, err = a.Attest(context.Background(), attestation.Binding{}, []string{"text/waits", "text/failing"})
	require.ErrorIs(t, err, errPart)
	<-ended

	release := make(chan struct{})
	deaf := part{[]string{"text/deaf"}, func(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
		<-release
		return nil, errPart
	}}
	a, err = composite.New(composite.Part{Label: "a", Attester: deaf})
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	late := errors.New("too late")
	cancel(late)
	_, err = a.Attest(ctx, attestation.Binding{}, []string{"text/deaf"})
	require.ErrorIs(t, err, late)
	close(release)
}

func TestParts(t *testing.T) {
	t.Parallel()
	good := composite.Part{Label: "a", Attester: text(t, "one")}
	for want, parts := range map[string][]composite.Part{
		"there are 0, want 1 to 16":                     nil,
		"there are 17, want 1 to 16":                    make([]composite.Part, 17),
		`"b" has no Attester`:                           {good, {Label: "b"}},
		`"a" is there twice`:                            {good, good},
		"every one may be absent":                       {{Label: "a", Attester: text(t, "one"), MayBeAbsent: true}},
		`"": cmw: new collection: label is not`:         {{Attester: text(t, "one")}},
		`"__cmwc_t": cmw: new collection: label is not`: {{Label: "__cmwc_t", Attester: text(t, "one")}},
		`"\xff": cmw: new collection: label is not`:     {{Label: "\xff", Attester: text(t, "one")}},
	} {
		_, err := composite.New(parts...)
		require.ErrorIs(t, err, composite.ErrParts, want)
		require.ErrorContains(t, err, want)
	}
	many := make([]composite.Part, cmw.MaxLeaves)
	for i := range many {
		many[i] = composite.Part{Label: strings.Repeat("x", i+1), Attester: text(t, "one")}
	}
	a, err := composite.New(many...)
	require.NoError(t, err)
	require.Equal(t, []string{"text/one"}, a.MediaTypes())
}
