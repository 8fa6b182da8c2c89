package passport

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier/ear"
)

func TestPerConnection(t *testing.T) {
	t.Parallel()
	a, key := newAuthority(t), newKey(t)
	p, err := NewPerConnection(a)
	require.NoError(t, err)
	require.Equal(t, []string{ear.MediaType}, p.MediaTypes())
	for range 2 {
		b := binding(t, key)
		m := attest(t, p, b)
		require.Equal(t, cmw.AttestationResults, m.Indicator())
		_, err = a.verifier(t).Appraise(context.Background(), b, m)
		require.NoError(t, err)
		_, err = a.verifier(t).Appraise(context.Background(), binding(t, key), m)
		requireNo(t, err, ear.ErrNonce)
	}
	_, err = NewPerConnection(nil)
	require.ErrorIs(t, err, attestation.ErrMisuse)
}

var errSource = errors.New("verifier is down")

func TestUnusableSources(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	for name, c := range map[string]struct {
		source SourceFunc
		want   error
	}{
		"fails": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) {
			return []byte("x"), in(time.Hour), errSource
		}, errSource},
		"empty": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) { return nil, in(time.Hour), nil }, ErrSource},
		"too long": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) {
			return make([]byte, ear.MaxSize+1), in(time.Hour), nil
		}, ErrSource},
		"about to expire": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) {
			return []byte("x"), in(margin), nil
		}, ErrSource},
		"no expiry": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) {
			return []byte("x"), time.Time{}, nil
		}, ErrSource},
		"no record": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) {
			return make([]byte, cmw.MaxSize), in(time.Hour), nil
		}, cmw.ErrTooLarge},
		"good": {func(context.Context, attestation.Binding) ([]byte, time.Time, error) {
			return []byte("x"), in(time.Minute), nil
		}, nil},
	} {
		p, err := NewPerConnection(c.source)
		require.NoError(t, err)
		m, err := p.Attest(context.Background(), binding(t, newKey(t)), nil)
		if c.want == cmw.ErrTooLarge && err == nil {
			_, err = m.MarshalCBOR()
		}
		require.ErrorIs(t, err, c.want, name)
	}
}

func TestChecked(t *testing.T) {
	t.Parallel()
	a, key := newAuthority(t), newKey(t)
	checker, err := ear.NewChecker(a.options)
	require.NoError(t, err)
	b := binding(t, key)
	token := func(b attestation.Binding) []byte {
		token, _, err := a.Obtain(context.Background(), b)
		require.NoError(t, err)
		return token
	}
	for name, c := range map[string]struct {
		token []byte
		err   error
		want  error
	}{
		"good":          {token(b), nil, nil},
		"fails":         {nil, errSource, errSource},
		"other nonce":   {token(binding(t, key)), nil, ear.ErrNonce},
		"not affirming": {a.resign(t, token(b), func(m map[string]any) { submod(m, "tee")["ear.status"] = "none" }), nil, ear.ErrTier},
		"key of one other": {a.resign(t, token(b), func(m map[string]any) {
			submod(m, "tee")["ear.veraison.key-attestation"] = map[string]any{"akpub": "AAAA"}
		}), nil, ear.ErrKey},
	} {
		source, err := Checked(func(context.Context, attestation.Binding) ([]byte, error) { return c.token, c.err }, checker)
		require.NoError(t, err)
		got, expires, err := source.Obtain(context.Background(), b)
		require.ErrorIs(t, err, c.want, name)
		if c.want == nil {
			require.Equal(t, c.token, got)
			require.WithinDuration(t, time.Now().Add(time.Hour), expires, time.Minute)
			continue
		}
		require.Nil(t, got, name)
	}
	for _, c := range []*ear.Checker{nil, checker} {
		_, err := Checked(nil, c)
		require.ErrorIs(t, err, attestation.ErrMisuse)
	}
	_, err = Checked(func(context.Context, attestation.Binding) ([]byte, error) { return nil, nil }, nil)
	require.ErrorIs(t, err, attestation.ErrMisuse)
}

// counting is a source that can be switched off and counts its calls.
type counting struct {
	*authority
	calls atomic.Int32
	off   atomic.Bool
	delay time.Duration
	mu    sync.Mutex
	seen  []attestation.Binding
}

func (c *counting) Obtain(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error) {
	c.calls.Add(1)
	c.mu.Lock()
	c.seen = append(c.seen, b)
	c.mu.Unlock()
	select {
	case <-time.After(c.delay):
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	if c.off.Load() {
		return nil, time.Time{}, errSource
	}
	return c.authority.Obtain(ctx, b)
}

// One EAR serves all connections of a key, is renewed in time, and answers nobody's
// nonce.
func TestCachedRenews(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		source := &counting{authority: newAuthority(t), delay: time.Second}
		var observed []error
		c, err := NewCached(t.Context(), CachedOptions{Source: source, SPKI: spki(t, key), Observe: func(_ time.Time, err error) { observed = append(observed, err) }})
		require.NoError(t, err)
		require.Equal(t, []string{ear.MediaType}, c.MediaTypes())
		var wg sync.WaitGroup
		for range 20 { // they wait for the one attempt
			wg.Go(func() {
				b := binding(t, key)
				m := attest(t, c, b)
				_, err := source.verifier(t, keyBound).Appraise(t.Context(), b, m)
				require.NoError(t, err)
				_, err = source.verifier(t).Appraise(t.Context(), b, m)
				requireNo(t, err, ear.ErrNonce)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, source.calls.Load())

		first := attest(t, c, binding(t, key))
		time.Sleep(33 * time.Minute) // not before two thirds less a tenth
		require.EqualValues(t, 1, source.calls.Load())
		time.Sleep(8 * time.Minute)
		synctest.Wait()
		require.EqualValues(t, 2, source.calls.Load())
		require.False(t, attest(t, c, binding(t, key)).Equal(first))
		require.NotEqual(t, source.seen[0].Binder(), source.seen[1].Binder(), "each challenge is fresh")
		require.NoError(t, c.Close())
		require.Equal(t, []error{nil, nil}, observed)
	})
}

// The old EAR serves while the source is down, until it expires; then there is none.
func TestCachedOutlivesOutage(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		source := &counting{authority: newAuthority(t)}
		c, err := NewCached(t.Context(), CachedOptions{Source: source, SPKI: spki(t, key)})
		require.NoError(t, err)
		old := attest(t, c, binding(t, key))
		source.off.Store(true)
		time.Sleep(time.Hour - margin - time.Second)
		require.Greater(t, source.calls.Load(), int32(10), "it tries again")
		require.Less(t, source.calls.Load(), int32(70), "with pauses")
		require.True(t, attest(t, c, binding(t, key)).Equal(old))
		time.Sleep(time.Second)
		calls := source.calls.Load()
		_, err = c.Attest(t.Context(), binding(t, key), nil)
		require.ErrorIs(t, err, ErrSource)
		require.ErrorIs(t, err, errSource)
		require.Equal(t, calls, source.calls.Load(), "a request causes no attempt")
		source.off.Store(false)
		time.Sleep(maxRetry)
		require.False(t, attest(t, c, binding(t, key)).Equal(old))
		require.NoError(t, c.Close())
	})
}

func TestCachedRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		source := &counting{authority: newAuthority(t), delay: time.Hour}
		c, err := NewCached(t.Context(), CachedOptions{Source: source, SPKI: spki(t, key), Timeout: time.Minute})
		require.NoError(t, err)
		_, err = c.Attest(t.Context(), binding(t, newKey(t)), nil)
		require.ErrorIs(t, err, ErrOtherKey)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Attest(ctx, binding(t, key), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = c.Attest(t.Context(), binding(t, key), nil)
		require.ErrorIs(t, err, ErrSource, "the attempt ended with its timeout")
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		_, err = c.Attest(t.Context(), binding(t, key), nil)
		require.ErrorIs(t, err, ErrClosed)
	})
}

// Close and the end of the context release those who wait.
func TestCachedEnds(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for name, end := range map[string]func(c *Cached, cancel func()){
		"close":   func(c *Cached, _ func()) { c.Close() },
		"context": func(_ *Cached, cancel func()) { cancel() },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, err := NewCached(ctx, CachedOptions{Source: &counting{authority: newAuthority(t), delay: time.Hour}, SPKI: spki(t, key)})
			require.NoError(t, err)
			waiting := make(chan error, 1)
			go func() {
				_, err := c.Attest(context.Background(), binding(t, key), nil)
				waiting <- err
			}()
			synctest.Wait()
			end(c, cancel)
			err = <-waiting
			require.True(t, errors.Is(err, ErrClosed) || errors.Is(err, ErrSource), "%s: %v", name, err)
			<-c.ended
			_, err = c.Attest(context.Background(), binding(t, key), nil)
			require.ErrorIs(t, err, ErrClosed, name)
		})
	}
}

// A source that panics costs an attempt, not the process.
func TestCachedPanic(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		var calls atomic.Int32
		c, err := NewCached(t.Context(), CachedOptions{SPKI: spki(t, key), Source: SourceFunc(func(ctx context.Context, b attestation.Binding) ([]byte, time.Time, error) {
			if calls.Add(1) == 1 {
				panic("evidence")
			}
			return a.Obtain(ctx, b)
		})})
		require.NoError(t, err)
		_, err = c.Attest(t.Context(), binding(t, key), nil)
		require.ErrorIs(t, err, ErrSource)
		require.NotContains(t, err.Error(), "evidence")
		time.Sleep(minRetry)
		attest(t, c, binding(t, key))
		require.NoError(t, c.Close())
	})
}

// A timer that is late, as after the machine was suspended, is made up for by the
// first request.
func TestCachedLateTimer(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		source := &counting{authority: newAuthority(t)}
		c, err := NewCached(t.Context(), CachedOptions{Source: source, SPKI: spki(t, key)})
		require.NoError(t, err)
		old := attest(t, c, binding(t, key))
		synctest.Wait()
		c.mu.Lock()
		c.expires = time.Now()
		c.mu.Unlock()
		time.Sleep(time.Second)
		require.False(t, attest(t, c, binding(t, key)).Equal(old))
		require.EqualValues(t, 2, source.calls.Load())
		require.NoError(t, c.Close())
	})
}

func TestNewCachedMisuse(t *testing.T) {
	t.Parallel()
	good := CachedOptions{Source: newAuthority(t), SPKI: spki(t, newKey(t))}
	for name, c := range map[string]struct {
		change func(o *CachedOptions)
		want   error
	}{
		"source":  {func(o *CachedOptions) { o.Source = nil }, attestation.ErrMisuse},
		"timeout": {func(o *CachedOptions) { o.Timeout = -1 }, attestation.ErrMisuse},
		"no key":  {func(o *CachedOptions) { o.SPKI = nil }, attestation.ErrMalformed},
		"bad key": {func(o *CachedOptions) { o.SPKI = []byte("x") }, attestation.ErrMalformed},
	} {
		o := good
		c.change(&o)
		_, err := NewCached(context.Background(), o)
		require.ErrorIs(t, err, c.want, name)
	}
}

// An EAR that ended while it was stored, as when the clock is set, is renewed soon.
func TestCachedClockSet(t *testing.T) {
	t.Parallel()
	c := &Cached{expires: time.Now().Add(-time.Hour)}
	require.Equal(t, minRetry, c.pause(0))
}
