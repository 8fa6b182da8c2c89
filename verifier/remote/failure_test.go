package remote

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/internal/veraisonfake"
	"github.com/expat-go/expat/verifier/ear"
)

// B-20: whatever the service does wrong opens no connection.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault    veraisonfake.Fault
		want     error
		step     Step
		attempts int
	}{
		"slow":           {veraisonfake.Slow, ErrUnreachable, StepSession, 2},
		"down":           {veraisonfake.Down, ErrUnreachable, StepSession, 2},
		"drops":          {veraisonfake.Drops, ErrUnreachable, StepSession, 2},
		"garbage":        {veraisonfake.Garbage, ErrProtocol, StepSession, 1},
		"web page":       {veraisonfake.HTML, ErrProtocol, StepSession, 1},
		"huge":           {veraisonfake.Huge, ErrProtocol, StepSession, 1},
		"redirect":       {veraisonfake.Redirect, ErrProtocol, StepSession, 1},
		"other origin":   {veraisonfake.OtherOrigin, ErrProtocol, StepSession, 1},
		"other nonce":    {veraisonfake.OtherNonce, ErrProtocol, StepSession, 1},
		"other Evidence": {veraisonfake.OtherEvidence, ear.ErrNonce, StepResult, 1},
		"forever":        {veraisonfake.Forever, ErrUnreachable, StepPoll, 1},
		"unsigned":       {veraisonfake.Unsigned, ErrResult, StepResult, 1},
		"incapable":      {veraisonfake.Incapable, ErrRefused, StepEvidence, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{options: func(o *Options) { o.Attempts, o.AttemptTimeout = 2, time.Second }})
			if tc.fault == veraisonfake.OtherEvidence {
				require.NoError(t, w.ask(t))
			}
			before := w.service.Stats()
			w.service.Set(tc.fault)
			err := w.ask(t)
			require.ErrorIs(t, err, tc.want)
			require.ErrorIs(t, err, attestation.ErrUnavailable)
			require.NotErrorIs(t, err, attestation.ErrRejected)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.step, e.Step)
			if tc.step == StepSession {
				require.Equal(t, tc.attempts, w.service.Stats().Requests-before.Requests)
			}
			require.NotContains(t, err.Error(), "nonce=", "the URL is not repeated")
			// No restart is needed when it is good again.
			w.service.Set(veraisonfake.None)
			w.clock.Add(time.Minute)
			require.NoError(t, w.ask(t))
		})
	}
}

// script answers requests by hand.
func script(t *testing.T, h http.HandlerFunc) *world {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return newWorld(t, change{options: func(o *Options) { o.URL, o.Attempts = srv.URL, 1 }})
}

// What a session must be, one change to a good one at a time.
func TestSessionAnswers(t *testing.T) {
	t.Parallel()
	const good, there = `{"status":"waiting","nonce":"NONCE"}`, "/challenge-response/v1/session/1"
	for name, tc := range map[string]struct {
		status                    int
		mediaType, location, body string
		want                      error
	}{
		"200":                  {200, sessionType, there, good, ErrProtocol},
		"204":                  {204, sessionType, there, "", ErrProtocol},
		"301":                  {301, sessionType, there, good, ErrProtocol},
		"400":                  {400, sessionType, there, good, ErrRefused},
		"401":                  {401, sessionType, there, good, ErrRefused},
		"429":                  {429, sessionType, there, good, ErrUnreachable},
		"500":                  {500, sessionType, there, good, ErrRefused},
		"502":                  {502, sessionType, there, good, ErrUnreachable},
		"504":                  {504, sessionType, there, good, ErrUnreachable},
		"JSON":                 {201, "application/json", there, good, ErrProtocol},
		"no type":              {201, "", there, good, ErrProtocol},
		"no location":          {201, sessionType, "", good, ErrProtocol},
		"long location":        {201, sessionType, "/" + strings.Repeat("a", maxLocation), good, ErrProtocol},
		"location not a URL":   {201, sessionType, "%zz", good, ErrProtocol},
		"location with user":   {201, sessionType, "http://u@SELF/x", good, ErrProtocol},
		"location with #":      {201, sessionType, "#x", good, ErrProtocol},
		"opaque location":      {201, sessionType, "mailto:x", good, ErrProtocol},
		"other scheme":         {201, sessionType, "https://SELF/x", good, ErrProtocol},
		"other port":           {201, sessionType, "http://127.0.0.1:1/x", good, ErrProtocol},
		"other host":           {201, sessionType, "//localhost:PORT/x", good, ErrProtocol},
		"complete":             {201, sessionType, there, `{"status":"complete","nonce":"NONCE","result":"x"}`, ErrProtocol},
		"result while waiting": {201, sessionType, there, `{"status":"waiting","nonce":"NONCE","result":"x"}`, ErrProtocol},
		"no nonce":             {201, sessionType, there, `{"status":"waiting"}`, ErrProtocol},
		"short answer":         {201, sessionType, there, `{"status":"wai`, ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := script(t, func(w http.ResponseWriter, r *http.Request) {
				fill := strings.NewReplacer("NONCE", r.URL.Query().Get("nonce"), "SELF", r.Host, "PORT", r.Host[strings.LastIndex(r.Host, ":")+1:])
				w.Header().Set("Content-Type", tc.mediaType)
				if tc.location != "" {
					w.Header().Set("Location", fill.Replace(tc.location))
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(fill.Replace(tc.body)))
			})
			err := w.ask(t)
			require.ErrorIs(t, err, tc.want)
			require.ErrorIs(t, err, attestation.ErrUnavailable)
		})
	}
}

// What the answer to Evidence must be.
func TestEvidenceAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		state  string
		want   error
		health int // failures that the breaker counts
	}{
		"200 waiting":    {200, `"waiting"`, ErrProtocol, 1},
		"200 processing": {200, `"processing"`, ErrProtocol, 1},
		"202 complete":   {202, `"complete","result":"x"`, ErrProtocol, 1},
		"201":            {201, `"complete","result":"x"`, ErrProtocol, 1},
		"failed":         {200, `"failed"`, ErrRefused, 0},
		"no EAR":         {200, `"complete","result":"x"`, ErrResult, 0},
		"400":            {400, `""`, attestation.ErrMalformed, 0},
		"415":            {415, `""`, attestation.ErrMediaType, 0},
		"404":            {404, `""`, ErrRefused, 0},
		"503":            {503, `""`, ErrUnreachable, 0},
		"truncated":      {0, `""`, ErrUnreachable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var nonce atomic.Value
			w := script(t, func(w http.ResponseWriter, r *http.Request) {
				if n := r.URL.Query().Get("nonce"); n != "" {
					nonce.Store(n)
				}
				w.Header().Set("Content-Type", sessionType)
				state, status := `"waiting"`, 201
				w.Header().Set("Location", "session/1")
				if !strings.HasSuffix(r.URL.Path, "newSession") {
					state, status = tc.state, tc.status
				}
				if status == 0 {
					w.Header().Set("Content-Length", "1000")
					status = 200
				}
				w.WriteHeader(status)
				_, _ = w.Write([]byte(`{"nonce":"` + nonce.Load().(string) + `","status":` + state + `}`))
			})
			err := w.ask(t)
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, tc.health, w.breaker.failures)
		})
	}
}

// Attempts stop with the deadline, with a Retry-After beyond it, and when the caller
// leaves, which is not held against the service.
func TestDeadline(t *testing.T) {
	t.Parallel()
	w := script(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	w.o.Attempts = 5
	began := time.Now()
	require.ErrorIs(t, w.ask(t), ErrUnreachable)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b := newBinding()
	_, err := w.Appraise(ctx, b, toyEvidence(b))
	require.ErrorIs(t, err, ErrUnreachable)
	require.Less(t, time.Since(began), 5*time.Second)

	slow := newWorld(t, change{options: func(o *Options) { o.Attempts = 5 }})
	slow.service.Set(veraisonfake.Slow)
	gone := errors.New("caller went away")
	left, leave := context.WithCancelCause(context.Background())
	time.AfterFunc(50*time.Millisecond, func() { leave(gone) })
	_, err = slow.Appraise(left, b, toyEvidence(b))
	require.ErrorIs(t, err, gone)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.Zero(t, slow.breaker.failures)
	short, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	_, err = slow.Appraise(short, b, toyEvidence(b))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Zero(t, slow.breaker.failures)
	require.False(t, slow.wait(left, time.Hour/3600))
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Minute).UTC().Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
	v := &Verifier{o: Options{Backoff: time.Second, MaxBackoff: 4 * time.Second}}
	for n, bound := range []time.Duration{1, 2, 4, 4} {
		for range 50 {
			d := v.backoff(n, 0)
			require.True(t, d > 0 && d <= bound*time.Second, d)
		}
	}
	waits := make(map[time.Duration]bool)
	for range 50 {
		d := v.backoff(100, time.Minute)
		require.True(t, d > time.Minute && d <= time.Minute+4*time.Second, d)
		waits[d] = true
	}
	require.Greater(t, len(waits), 1, "who was told the same does not return together")
}

// The breaker opens after failures in a row, lets one attempt at a time see whether
// the service is back, and closes without a restart.
func TestBreaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) { o.Attempts, o.BreakAfter, o.BreakFor = 1, 3, time.Minute }})
	require.NoError(t, w.ask(t))
	w.service.Set(veraisonfake.Down)
	for range 2 {
		require.ErrorIs(t, w.ask(t), ErrUnreachable)
	}
	require.Equal(t, Closed, w.State())
	require.ErrorIs(t, w.ask(t), ErrUnreachable)
	require.Equal(t, Open, w.State())
	asked := w.service.Stats().Requests
	err := w.ask(t)
	require.ErrorIs(t, err, ErrOpen)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.Equal(t, asked, w.service.Stats().Requests, "nothing is sent")

	w.clock.Add(time.Minute)
	require.Equal(t, HalfOpen, w.State())
	require.ErrorIs(t, w.ask(t), ErrUnreachable)
	require.Equal(t, Open, w.State(), "still down")
	w.clock.Add(time.Minute)
	w.service.Set(veraisonfake.None)
	require.NoError(t, w.ask(t))
	require.Equal(t, Closed, w.State())
	require.Equal(t, "closed open half-open", Closed.String()+" "+Open.String()+" "+HalfOpen.String())
}

func TestBreakerProbes(t *testing.T) {
	t.Parallel()
	c := &clock{t: time.Unix(0, 0)}
	b := &breaker{threshold: 1, pause: time.Second, now: c.Now}
	b.done(false, ill)
	require.Equal(t, Open, b.state())
	c.Add(time.Second)
	probe, err := b.allow()
	require.NoError(t, err)
	require.True(t, probe)
	_, err = b.allow()
	require.ErrorIs(t, err, ErrOpen, "one at a time")
	b.done(false, ill) // an attempt from before
	_, err = b.allow()
	require.ErrorIs(t, err, ErrOpen)
	b.done(true, unknown)
	probe, err = b.allow()
	require.NoError(t, err)
	require.True(t, probe, "a probe that says nothing makes room for the next")
	b.done(true, well)
	probe, err = b.allow()
	require.NoError(t, err)
	require.False(t, probe)
}

// A hostile peer whose Evidence makes the service fail does not close it to others.
func TestHostilePeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) { o.BreakAfter = 2 }})
	w.service.Set(veraisonfake.Incapable)
	for range 5 {
		require.ErrorIs(t, w.ask(t), ErrRefused)
	}
	require.Equal(t, Closed, w.State())
}

// A peer that leaves too little time for an appraisal says nothing of the service:
// enough of them would close it to all others.
func TestLatePeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) { o.BreakAfter, o.AttemptTimeout = 2, 2*time.Second }})
	w.service.Set(veraisonfake.Slow)
	late := func(left time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		b := newBinding()
		_, err := w.Appraise(ctx, b, toyEvidence(b))
		require.ErrorIs(t, err, ErrUnreachable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	for range 4 {
		late(20 * time.Millisecond)
	}
	require.Equal(t, Closed, w.State())
	late(600 * time.Millisecond)
	require.Equal(t, Closed, w.State())
	late(600 * time.Millisecond)
	require.Equal(t, Open, w.State(), "a quarter of an attempt's time is enough to tell")
}

// A service that refuses Evidence is there: a hostile peer cannot keep the breaker from
// closing by being the one that is let through.
func TestHostileProbe(t *testing.T) {
	t.Parallel()
	for fault, want := range map[veraisonfake.Fault]State{veraisonfake.Incapable: Closed, veraisonfake.Down: Open} {
		w := newWorld(t, change{options: func(o *Options) { o.Attempts, o.BreakAfter = 1, 1 }})
		w.service.Set(veraisonfake.Down)
		require.ErrorIs(t, w.ask(t), ErrUnreachable)
		w.clock.Add(time.Minute)
		require.Equal(t, HalfOpen, w.State())
		w.service.Set(fault)
		require.ErrorIs(t, w.ask(t), attestation.ErrUnavailable)
		require.Equal(t, want, w.State())
	}
}

// Close waits for what was begun, and nothing is begun after it.
func TestClose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for {
				b := newBinding()
				if _, err := w.Appraise(context.Background(), b, toyEvidence(b)); err != nil {
					if !errors.Is(err, ErrClosed) || !errors.Is(err, attestation.ErrUnavailable) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return w.service.Stats().Deleted > 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, w.Close())
	asking.Wait()
	require.NoError(t, w.Close())
	require.ErrorIs(t, w.ask(t), ErrClosed)
	require.Empty(t, w.slots)
	require.Empty(t, w.cleanups)
}

// No more attempts than allowed are under way; the others wait, within their deadline.
func TestMaxInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) { o.MaxInFlight, o.SendKey = 3, true }})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			b := newBinding()
			if _, err := w.Appraise(context.Background(), b, toyEvidence(b)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, w.service.Stats().MostInFlight, 3)

	w.service.Set(veraisonfake.Slow)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var waited atomic.Int32
	for range 6 {
		wg.Go(func() {
			b := newBinding()
			_, err := w.Appraise(ctx, b, toyEvidence(b))
			var e *Error
			if errors.As(err, &e) && e.Step == StepConnect {
				waited.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 3, waited.Load())
}

// Deletions are best effort, and as bounded as attempts.
func TestCleanupIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) { o.MaxInFlight = 1 }})
	w.cleanups <- struct{}{}
	w.cleanup(&url.URL{})
	<-w.cleanups
	require.NoError(t, w.ask(t))
	require.NoError(t, w.Close())
	require.Equal(t, 1, w.service.Stats().Deleted)
}
