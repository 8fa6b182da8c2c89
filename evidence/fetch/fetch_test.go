package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// service is a vendor made up by a test.
type service func(*http.Request) (*http.Response, error)

func (s service) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func answer(status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"X": {"y"}}, Body: io.NopCloser(bytes.NewReader(body))}
}

// TestCache: an answer is asked for once while it is kept.
func TestCache(t *testing.T) {
	t.Parallel()
	asked, now := 0, time.Unix(0, 0)
	f := New(Options{TTL: time.Minute, Now: func() time.Time { return now }, Transport: service(func(r *http.Request) (*http.Response, error) {
		asked++
		return answer(200, []byte(r.URL.Path)), nil
	})})
	for _, c := range []struct {
		path  string
		at    time.Duration
		asked int
	}{{"/a", 0, 1}, {"/a", 59 * time.Second, 1}, {"/b", 59 * time.Second, 2}, {"/a", time.Minute, 3}, {"/b", time.Minute, 3}} {
		now = time.Unix(0, 0).Add(c.at)
		a, err := f.Get(context.Background(), "https://vendor.test"+c.path)
		require.NoError(t, err)
		require.Equal(t, c.path, string(a.Body))
		require.Equal(t, "y", a.Header.Get("X"))
		require.Equal(t, c.asked, asked, c)
	}
	for i := range MaxEntries + 5 {
		_, err := f.Get(context.Background(), fmt.Sprintf("https://vendor.test/%d", i))
		require.NoError(t, err)
	}
	require.Len(t, f.cache, MaxEntries)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		address string
		answer  func(*http.Request) (*http.Response, error)
		want    error
	}{
		"plain http": {"http://vendor.test", func(*http.Request) (*http.Response, error) { panic("asked") }, ErrFetch},
		"no url":     {"https://%zz", func(*http.Request) (*http.Response, error) { panic("asked") }, ErrFetch},
		"not found":  {"https://vendor.test", func(*http.Request) (*http.Response, error) { return answer(404, nil), nil }, ErrFetch},
		"redirect": {"https://vendor.test", func(r *http.Request) (*http.Response, error) {
			res := answer(302, nil)
			res.Header.Set("Location", "https://attacker.test")
			return res, nil
		}, ErrFetch},
		"empty":    {"https://vendor.test", func(*http.Request) (*http.Response, error) { return answer(200, nil), nil }, ErrFetch},
		"too long": {"https://vendor.test", func(*http.Request) (*http.Response, error) { return answer(200, make([]byte, MaxBody+1)), nil }, ErrFetch},
		"broken":   {"https://vendor.test", func(*http.Request) (*http.Response, error) { return nil, broken }, broken},
	} {
		f := New(Options{Transport: service(c.answer)})
		_, err := f.Get(context.Background(), c.address)
		require.ErrorIs(t, err, ErrFetch, name)
		require.ErrorIs(t, err, c.want, name)
		require.Empty(t, f.cache, "failures are not kept")
	}
	f := New(Options{Transport: service(func(*http.Request) (*http.Response, error) { return answer(200, make([]byte, MaxBody)), nil })})
	a, err := f.Get(context.Background(), "https://vendor.test")
	require.NoError(t, err)
	require.Len(t, a.Body, MaxBody)
}

// TestTimes: a request ends with its timeout or ctx, whichever is first, and no
// more than MaxRequests are made at a time.
func TestTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		f := New(Options{Timeout: time.Second, Transport: service(func(r *http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		start := time.Now()
		_, err := f.Get(context.Background(), "https://vendor.test")
		require.ErrorIs(t, err, ErrFetch)
		require.Equal(t, time.Second, time.Since(start))
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Millisecond, errors.New("too late"))
		defer cancel()
		_, err = f.Get(ctx, "https://vendor.test")
		require.EqualError(t, err, "too late")
		done := make(chan error)
		for range 3 * MaxRequests {
			go func() {
				_, err := f.Get(context.Background(), "https://vendor.test")
				done <- err
			}()
		}
		synctest.Wait()
		_, err = f.Get(ctx, "https://vendor.test") // waits for a slot
		require.EqualError(t, err, "too late")
		for range 3 * MaxRequests {
			require.ErrorIs(t, <-done, ErrFetch)
		}
		require.EqualValues(t, MaxRequests, most.Load())
	})
}

// TestProxy: the proxy is the one that was set, and none of the environment's.
func TestProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://environment.test")
	require.Nil(t, New(Options{}).client.Transport.(*http.Transport).Proxy)
	require.Equal(t, DefaultTimeout, New(Options{}).client.Timeout)
	want := &url.URL{Scheme: "http", Host: "proxy.test:3128"}
	got, err := New(Options{Proxy: want}).client.Transport.(*http.Transport).Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "vendor.test"}})
	require.NoError(t, err)
	require.Equal(t, want, got)
}
