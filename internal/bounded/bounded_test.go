package bounded

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCall(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	for name, c := range map[string]struct {
		f    func() (int, error)
		want string
	}{
		"error":   {func() (int, error) { return 0, plain }, "plain"},
		"panics":  {func() (int, error) { panic("secret") }, "it panicked with a string"},
		"goexits": {func() (int, error) { runtime.Goexit(); return 0, nil }, "it ended its goroutine"},
	} {
		_, err := Call(context.Background(), c.f)
		require.EqualError(t, err, c.want, name)
	}
	v, err := Call(context.Background(), func() (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
}

func TestCallIsBounded(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(context.Background())
	release := make(chan struct{})
	time.AfterFunc(time.Millisecond, func() { cancel(cause) })
	_, err := Call(ctx, func() (int, error) { <-release; return 0, nil })
	require.ErrorIs(t, err, cause)
	close(release)

	called := false
	_, err = Call(ctx, func() (int, error) { called = true; return 0, nil })
	require.ErrorIs(t, err, cause)
	require.False(t, called, "after the end nothing is begun")
}
