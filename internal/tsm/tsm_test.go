package tsm

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"
	"github.com/stretchr/testify/require"
)

// kernel answers for the attributes it has.
func kernel(attributes map[string]string) (*faketsm.ReportSubsystem, Client) {
	sub := faketsm.ReportV7(1)
	sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
		text, ok := attributes[attr]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	}
	return sub, &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": sub}}
}

func level(n uint) *uint { return &n }

func TestCollect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attributes map[string]string
		level      *uint
		want       error
		aux        []byte
	}{
		"with certificates":  {map[string]string{"provider": "x\n", "outblob": "report", "auxblob": "certs"}, level(1), nil, []byte("certs")},
		"none":               {map[string]string{"provider": "x\n", "outblob": "report"}, nil, nil, nil},
		"level too low":      {map[string]string{"provider": "x\n", "outblob": "report"}, level(0), ErrCollect, nil},
		"provider of others": {map[string]string{"provider": "x\n\n", "outblob": "report"}, nil, ErrProvider, nil},
		"no report":          {map[string]string{"provider": "x\n"}, nil, ErrCollect, nil},
		"empty report":       {map[string]string{"provider": "x\n", "outblob": ""}, nil, ErrCollect, nil},
	} {
		sub, client := kernel(c.attributes)
		r, err := Collect(context.Background(), client, Request{Provider: "x", ReportData: [64]byte{1}, Level: c.level})
		require.Empty(t, sub.Entries, "%s: no entry stays behind", name)
		if c.want != nil {
			require.ErrorIs(t, err, c.want, name)
			require.Equal(t, Report{}, r)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, Report{Out: []byte("report"), Aux: c.aux}, r, name)
	}
}

// broken is a client that fails at one step.
type broken struct {
	Client
	mkdir, remove error
	made          func() // called first
}

func (b *broken) MkdirTemp(dir, pattern string) (string, error) {
	if b.made != nil {
		b.made()
	}
	if b.mkdir != nil {
		return "", b.mkdir
	}
	return b.Client.MkdirTemp(dir, pattern)
}

func (b *broken) RemoveAll(path string) error {
	return errors.Join(b.remove, b.Client.RemoveAll(path))
}

// TestBroken: an entry that cannot be made, removed, or that somebody else uses.
func TestBroken(t *testing.T) {
	t.Parallel()
	reason := errors.New("EIO")
	_, good := kernel(map[string]string{"provider": "x", "outblob": "report"})
	for name, c := range map[string]Client{"make": &broken{Client: good, mkdir: reason}, "remove": &broken{Client: good, remove: reason}} {
		_, err := Collect(context.Background(), c, Request{Provider: "x"})
		require.ErrorIs(t, err, ErrCollect, name)
		require.ErrorContains(t, err, "EIO", name)
	}
	// Another process writes to the entry between report and certificates.
	sub, client := kernel(nil)
	sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
		if attr == "auxblob" {
			e.WriteGeneration++
		}
		return []byte("x"), nil
	}
	_, err := Collect(context.Background(), client, Request{Provider: "x"})
	require.ErrorIs(t, err, ErrCollect)
}

// TestContext: firmware that does not answer holds nobody up.
func TestContext(t *testing.T) {
	t.Parallel()
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(context.Background())
	release, done := make(chan struct{}), make(chan struct{})
	sub, client := kernel(nil)
	sub.ReadAttr = func(*faketsm.ReportEntry, string) ([]byte, error) {
		cancel(late)
		<-release
		defer close(done)
		return nil, os.ErrNotExist
	}
	_, err := Collect(ctx, client, Request{Provider: "x"})
	require.ErrorIs(t, err, late)
	close(release)
	<-done
	_, err = Collect(ctx, client, Request{Provider: "x"})
	require.ErrorIs(t, err, late)
}

// TestAbandoned: callers that leave do not pile up requests.
func TestAbandoned(t *testing.T) { // not parallel: it takes all places there are
	var with atomic.Int32
	release := make(chan struct{})
	client := &broken{Client: nil, made: func() {
		with.Add(1)
		<-release
	}, mkdir: errors.New("EIO")}
	ctx, leave := context.WithCancel(context.Background())
	ended := make(chan error, 2*MaxCollecting)
	for range 2 * MaxCollecting {
		go func() {
			_, err := Collect(ctx, client, Request{Provider: "x"})
			ended <- err
		}()
	}
	require.Eventually(t, func() bool { return with.Load() == MaxCollecting }, 10*time.Second, time.Millisecond)
	leave()
	for range 2 * MaxCollecting {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
	require.EqualValues(t, MaxCollecting, with.Load())
	close(release)
	_, good := kernel(map[string]string{"provider": "x", "outblob": "report"})
	_, err := Collect(context.Background(), good, Request{Provider: "x"})
	require.NoError(t, err, "places are given back")
	require.Eventually(t, func() bool { return len(collecting) == 0 }, 10*time.Second, time.Millisecond)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := os.Stat("/sys/kernel/config/tsm/report")
	_, openErr := Open()
	if err == nil {
		require.NoError(t, openErr)
		return
	}
	require.ErrorIs(t, openErr, ErrUnavailable)
}
