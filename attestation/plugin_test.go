package attestation

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmw"
)

// misbehaviour is what plugged-in code can do instead of returning. Each case gets
// the channel that ends it after the test; TestMain looks for goroutines left over.
var misbehaviour = []struct {
	name string
	do   func(called, release chan struct{})
	ends bool // whether it ends by itself
}{
	{"hangs and ignores its context", func(called, release chan struct{}) { close(called); <-release }, false},
	{"panics", func(chan struct{}, chan struct{}) { panic([]byte("evidence in a panic")) }, true},
	{"panics with a runtime error", func(chan struct{}, chan struct{}) { _ = []int(nil)[len(mediaType)] }, true},
	{"ends its goroutine", func(chan struct{}, chan struct{}) { runtime.Goexit() }, true},
}

var errDeadline = errors.New("deadline of the exchange")

// misbehave runs f with code that misbehaves; where that never ends, the context does.
func misbehave(t *testing.T, f func(t *testing.T, ctx context.Context, plugin func()) error, want error) {
	for _, m := range misbehaviour {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			called, release := make(chan struct{}), make(chan struct{})
			defer close(release)
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if !m.ends {
				go func() {
					<-called
					cancel(errDeadline)
				}()
			}
			err := f(t, ctx, func() { m.do(called, release) })
			require.ErrorIs(t, err, want)
			require.NotContains(t, err.Error(), "evidence in") // F-3
			if !m.ends {
				require.ErrorIs(t, err, errDeadline)
			}
		})
	}
}

// B-20: an Attester that does not return is an error, in time.
func TestAttesterMisbehaves(t *testing.T) {
	t.Parallel()
	misbehave(t, func(t *testing.T, ctx context.Context, plugin func()) error {
		c := exporterPair()
		_, received := ask(t, c.client, c.server, offering(Expat04()))
		e, err := Attest(ctx, Expat04(), received, identity(), attester{[]string{mediaType}, func(context.Context, Binding, []string) (*cmw.Message, error) {
			plugin()
			return nil, nil
		}}, []string{mediaType})
		require.Zero(t, e)
		return err
	}, ErrAttester)
}

// B-20: a Verifier that does not return has reached no verdict.
func TestVerifierMisbehaves(t *testing.T) {
	t.Parallel()
	misbehave(t, func(t *testing.T, ctx context.Context, plugin func()) error {
		c := exporterPair()
		peer := attested(t, c.client, c.server, Expat04(), honest(t))
		r, err := Appraise(ctx, Expat04(), peer, verifier{[]string{mediaType}, func(context.Context, Binding, *cmw.Message) (*Result, error) {
			plugin()
			return nil, nil
		}})
		require.Nil(t, r)
		return err
	}, ErrUnavailable)
}

// Nobody is asked after the end.
func TestEndedContext(t *testing.T) {
	t.Parallel()
	c := exporterPair()
	peer := attested(t, c.client, c.server, Expat04(), honest(t))
	_, received := ask(t, c.client, c.server, offering(Expat04()))
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errDeadline)
	_, err := Appraise(ctx, Expat04(), peer, verifier{[]string{mediaType}, func(context.Context, Binding, *cmw.Message) (*Result, error) {
		panic("asked")
	}})
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, errDeadline)
	_, err = Attest(ctx, Expat04(), received, identity(), attester{[]string{mediaType}, func(context.Context, Binding, []string) (*cmw.Message, error) {
		panic("asked")
	}}, []string{mediaType})
	require.ErrorIs(t, err, ErrAttester)
	require.ErrorIs(t, err, errDeadline)
}

// The plugged-in code sees the context, the binding and the types it may use.
func TestPluginsAreGivenWhatTheyNeed(t *testing.T) {
	t.Parallel()
	type key struct{}
	ctx := context.WithValue(context.Background(), key{}, "value")
	c := exporterPair()
	r, received := ask(t, c.client, c.server, offering(Expat04()))
	var given Binding
	e, err := Attest(ctx, Expat04(), received, identity(), attester{[]string{"a/b", mediaType, "c/d"}, func(ctx context.Context, b Binding, accept []string) (*cmw.Message, error) {
		given = b
		require.Equal(t, "value", ctx.Value(key{}))
		require.Equal(t, []string{"a/b", mediaType}, accept)
		return record(t, mediaType, b), nil
	}}, []string{mediaType, "x/y", "A/B"})
	require.NoError(t, err)
	b, err := c.server.Authenticate(ctx, received, identity(), e)
	require.NoError(t, err)
	peer, err := c.client.Validate(r, b, anyChain)
	require.NoError(t, err)
	result, err := Appraise(ctx, Expat04(), peer, verifier{[]string{mediaType}, func(ctx context.Context, b Binding, _ *cmw.Message) (*Result, error) {
		require.Equal(t, "value", ctx.Value(key{}))
		require.True(t, b.same(given)) // C-5, D-2: computed by each side for itself
		return NewResult(b, affirming())
	}})
	require.NoError(t, err)
	require.True(t, result.Answers(given))
}
