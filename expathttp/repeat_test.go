package expathttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// A connection that died while it was idle is no error for a request that may be
// sent again, and one for a request that may not.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		for _, tc := range []struct {
			name string
			make func(url string) *http.Request
			ok   bool
		}{
			{"GET", func(u string) *http.Request { return must(http.NewRequest(http.MethodGet, u, nil)) }, true},
			{"POST", func(u string) *http.Request { return must(http.NewRequest(http.MethodPost, u, strings.NewReader("x"))) }, false},
			{"POST with key", func(u string) *http.Request {
				r := must(http.NewRequest(http.MethodPost, u, strings.NewReader("x")))
				r.Header.Set("Idempotency-Key", "1")
				return r
			}, true},
			{"POST with key, body gone", func(u string) *http.Request {
				r := must(http.NewRequest(http.MethodPost, u, io.NopCloser(strings.NewReader("x"))))
				r.Header.Set("Idempotency-Key", "1")
				return r
			}, false},
		} {
			t.Run(protocol+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				cc, sc := configs("alice", "bob", protocol)
				var hits atomic.Int32
				_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if hits.Add(1) == 2 { // dies with the request in its hands
						c, _ := expat.FromContext(r.Context())
						_ = c.NetConn().Close()
						<-r.Context().Done()
						return
					}
					_, _ = w.Write([]byte("ok"))
				}))
				c, _ := client(t, cc, Options{})
				_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
				require.NoError(t, err)
				resp, err := c.Do(tc.make("https://" + addr + "/"))
				if !tc.ok {
					require.Error(t, err)
					require.EqualValues(t, 2, hits.Load())
					return
				}
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.EqualValues(t, 3, hits.Load())
			})
		}
	}
}

// A first request on a new connection that ends is not sent again.
func TestNewConnectionThatEnds(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		var hits atomic.Int32
		_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			c, _ := expat.FromContext(r.Context())
			_ = c.NetConn().Close()
		}))
		c, _ := client(t, cc, Options{})
		_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
		require.Error(t, err)
		require.EqualValues(t, 1, hits.Load())
	}
}

func TestRepeat(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		req  *http.Request
		sent bool
		want bool
	}{
		{"GET", must(http.NewRequest(http.MethodGet, fleetURL, nil)), true, true},
		{"no method", &http.Request{}, true, true},
		{"DELETE", must(http.NewRequest(http.MethodDelete, fleetURL, nil)), true, false},
		{"DELETE, not sent", must(http.NewRequest(http.MethodDelete, fleetURL, nil)), false, true},
		{"POST, not sent", must(http.NewRequest(http.MethodPost, fleetURL, strings.NewReader("x"))), false, true},
		{"no body to be had", must(http.NewRequest(http.MethodPost, fleetURL, new(closing))), false, false},
		{"context ended", must(http.NewRequestWithContext(ended, http.MethodGet, fleetURL, nil)), false, false},
		{"GetBody fails", &http.Request{Body: new(closing), GetBody: func() (io.ReadCloser, error) { return nil, io.EOF }}, false, false},
	} {
		require.Equal(t, tc.want, repeat(tc.req, tc.sent) != nil, tc.name)
	}
	require.True(t, notProcessed(fmt.Errorf("x: %w", streamError{Code: 7})))
	require.False(t, notProcessed(streamError{Code: 8}))
}

// The reset of a stream is found in what net/http returns.
func TestStreamReset(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "h2")
	_, addr := serve(t, sc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	c, _ := client(t, cc, Options{})
	_, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	var e streamError
	require.ErrorAs(t, err, &e)
	require.EqualValues(t, 2, e.Code, "INTERNAL_ERROR")
	require.EqualError(t, e, "stream reset with code 2")
	require.False(t, notProcessed(err))
}
