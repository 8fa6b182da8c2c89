package platform

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// says is an Attester that fails with an error.
type says struct{ err error }

func (says) MediaTypes() []string { return []string{"application/toy"} }

func (s says) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	return nil, s.err
}

var errGood, errBad = errors.New("good"), errors.New("bad")

func turningAfter(after time.Duration, turned func()) *turning {
	return &turning{Attester: says{errGood}, bad: says{errBad}, after: after, turned: turned}
}

func (t *turning) says() error {
	_, err := t.Attest(context.Background(), attestation.Binding{}, nil)
	return err
}

// The time counts from the first Evidence, which is good; it turns bad once.
func TestTurning(t *testing.T) {
	t.Parallel()
	turned := make(chan struct{}, 2)
	d := turningAfter(time.Millisecond, func() { turned <- struct{}{} })
	require.Equal(t, []string{"application/toy"}, d.MediaTypes())
	select {
	case <-turned:
		t.Fatal("it turned before it was asked")
	case <-time.After(20 * time.Millisecond):
	}
	require.Equal(t, errGood, d.says())
	<-turned
	for range 3 {
		require.Equal(t, errBad, d.says())
	}
	require.NoError(t, d.close())
	require.Empty(t, turned)

	d = turningAfter(time.Millisecond, nil) // nobody needs to be told
	require.Equal(t, errGood, d.says())
	require.Eventually(t, func() bool { return d.says() == errBad }, 10*time.Second, time.Millisecond)
}

// What is closed tells nobody any more, and starts nothing.
func TestTurningCloses(t *testing.T) {
	t.Parallel()
	d := turningAfter(time.Hour, func() { t.Error("told") })
	require.Equal(t, errGood, d.says())
	require.NoError(t, d.close())
	d.turn() // as the timer does that has just gone off
	require.Equal(t, errGood, d.says())

	d = turningAfter(time.Hour, nil)
	require.NoError(t, d.close())
	require.Equal(t, errGood, d.says())
	require.Nil(t, d.timer)
}
