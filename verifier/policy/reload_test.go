package policy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/policy"
)

// change is what a Reloading told of.
type change struct {
	id  string
	err error
}

// watched is a Reloading whose clock the test holds.
type watched struct {
	*policy.Reloading
	file  string
	ticks chan time.Time
	stop  func()

	mu      sync.Mutex // Run can still look when tick is over
	changes []change
}

func watch(t *testing.T, l *lab) *watched {
	t.Helper()
	w := &watched{file: filepath.Join(l.dir(t), "policy.yaml"), ticks: make(chan time.Time)}
	write(t, w.file, good())
	var err error
	w.Reloading, err = policy.NewReloading(context.Background(), w.file, policy.ReloadOptions{
		Options: options(), Ticks: w.ticks,
		Changed: func(p *policy.Policy, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.changes = append(w.changes, change{p.ID(), err})
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	t.Cleanup(w.stop)
	return w
}

// told is what Run has told of so far.
func (w *watched) told() []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.changes)
}

// tick has Run look once: it takes the second tick when it is done with the first.
func (w *watched) tick() {
	w.ticks <- time.Time{}
	w.ticks <- time.Time{}
}

func TestReloading(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := watch(t, l)
	first := w.Policy().ID()
	b, m := l.attest(t)
	_, err := w.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, w.Policy().MediaTypes(), w.MediaTypes())

	w.tick()
	require.Empty(t, w.told(), "nothing changed")

	// A bad policy is told of once, and the one before stays.
	write(t, w.file, strings.Replace(good(), "1.9", "x", 1))
	w.tick()
	w.tick()
	require.Len(t, w.told(), 1)
	require.Equal(t, first, w.told()[0].id)
	require.ErrorIs(t, w.told()[0].err, policy.ErrFile)
	require.ErrorIs(t, w.Reload(context.Background()), policy.ErrFile)
	require.Len(t, w.told(), 1)
	_, err = w.Appraise(context.Background(), b, m)
	require.NoError(t, err)

	// A file that is gone is one too.
	require.NoError(t, os.Remove(w.file))
	w.tick()
	w.tick()
	require.Len(t, w.told(), 2)
	require.ErrorIs(t, w.told()[1].err, os.ErrNotExist)

	// A good one is in force at once.
	write(t, w.file, strings.Replace(good(), "1.9", "2.0", 1))
	w.tick()
	require.Len(t, w.told(), 3)
	require.NoError(t, w.told()[2].err)
	require.NotEqual(t, first, w.Policy().ID())
	_, err = w.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckSoftware})
}

// The files that a policy names are watched as it is: here its roots.
func TestReloadingOfNamedFiles(t *testing.T) {
	t.Parallel()
	l, other := newLab(t), newLab(t)
	w := watch(t, l)
	b, m := l.attest(t)
	root := filepath.Join(filepath.Dir(w.file), "root.pem")
	write(t, root, "none")
	w.tick()
	require.Len(t, w.told(), 1)
	require.Error(t, w.told()[0].err)
	write(t, root, other.pem())
	w.tick()
	require.Len(t, w.told(), 2)
	_, err := w.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckChain})
}

func TestReload(t *testing.T) {
	t.Parallel()
	w := watch(t, newLab(t))
	w.stop()
	require.NoError(t, w.Reload(context.Background()))
	require.Empty(t, w.told(), "the content is the same")
	write(t, w.file, good()+"# changed\n")
	canceled, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the end")
	cancel(why)
	require.ErrorIs(t, w.Reload(canceled), why)
	require.Empty(t, w.told())
	require.NoError(t, w.Reload(context.Background()))
	require.Len(t, w.told(), 1)

	_, err := policy.NewReloading(context.Background(), w.file+".none", policy.ReloadOptions{Options: options()})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// With its own clock it looks by itself. Appraisals go on meanwhile.
func TestReloadingByItself(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	file := filepath.Join(l.dir(t), "policy.yaml")
	write(t, file, good())
	changed := make(chan string, 1)
	r, err := policy.NewReloading(context.Background(), file, policy.ReloadOptions{
		Options: options(), Interval: time.Millisecond,
		Changed: func(p *policy.Policy, err error) { changed <- p.Name() },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	b, m := l.attest(t)
	running.Go(func() {
		for ctx.Err() == nil {
			_, _ = r.Appraise(ctx, b, m)
		}
	})
	temp := file + ".new"
	write(t, temp, strings.Replace(good(), "name: test", "name: other", 1))
	require.NoError(t, os.Rename(temp, file))
	require.Equal(t, "other", <-changed)
	cancel()
	running.Wait()
}

// A policy that changes between the question what it reads and the appraisal judges by
// what it is then: what it no longer reads is malformed, and never judged by nobody.
func TestReloadingBetweenTypesAndAppraisal(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := watch(t, l)
	b, m := l.attest(t)
	before := w.MediaTypes()
	_, err := w.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	write(t, w.file, strings.NewReplacer("platform: simulated", "platform: tpm", instance, strings.Repeat("22", 32)).Replace(good()))
	w.tick()
	require.NotEqual(t, before, w.MediaTypes())
	r, err := w.Appraise(context.Background(), b, m)
	require.Nil(t, r)
	require.ErrorIs(t, err, attestation.ErrMalformed)

	write(t, w.file, strings.Replace(good(), digest, digest2, 1))
	w.tick()
	_, err = w.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckMeasurement, Subject: "kernel"})
}
