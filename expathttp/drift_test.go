package expathttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
)

// turning is an Attester that becomes another one.
type turning struct {
	attestation.Attester
	now atomic.Pointer[simulated.Attester]
}

func (a *turning) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return a.now.Load().Attest(ctx, b, accept)
}

// drifter serves requests that last: one that answers at its end, one whose response
// and one whose request is a stream.
type drifter struct {
	began chan struct{} // one for each such request
	ended chan error    // how its context ended
}

func (d *drifter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/pending", "/download":
		if r.URL.Path == "/download" {
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
		}
		d.began <- struct{}{}
		<-r.Context().Done()
	case "/upload":
		_, _ = r.Body.Read(make([]byte, 1))
		d.began <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // of a body that was cut it comes a moment later
	default:
		_, _ = io.WriteString(w, "fine")
		return
	}
	d.ended <- context.Cause(r.Context())
}

// I-9, over HTTP: a device that turns bad on a live connection, that of the server or
// that of the client, under re-attestation. Whoever is found bad loses the connection
// with every request on it; nothing gets through while it is bad, and everything
// once it is good again. Both sides are told why.
func TestDriftEndsConnection(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		for _, side := range []string{"server", "client"} {
			t.Run(protocol+" "+side, func(t *testing.T) {
				t.Parallel()
				cc, sc := configs("alice", "bob", protocol)
				of, by, name := sc, cc, "127.0.0.1"
				if side == "client" {
					of, by, name = cc, sc, "client.test"
				}
				device := simulate(of, by, name, nil)
				attester := &turning{Attester: of.Attester}
				turn := func(lies ...simulated.Lie) { attester.now.Store(simulated.NewAttester(device, lies...)) }
				turn()
				of.Attester = attester
				of.Reattest, by.ReattestEvery = true, 50*time.Millisecond
				found := make(chan error, 100)
				by.AfterReattest = func(_ *expat.Conn, _ *attestation.Result, err error) {
					if err != nil {
						found <- err
					}
				}
				d := &drifter{began: make(chan struct{}, 3), ended: make(chan error, 3)}
				_, addr := serve(t, sc, d)
				c, tr := client(t, cc, Options{})
				url := "https://" + addr

				requests := map[string]func() error{
					"/pending":  func() error { return lasting(c, url+"/pending", http.NoBody) },
					"/download": func() error { return lasting(c, url+"/download", http.NoBody) },
					"/upload":   func() error { return lasting(c, url+"/upload", endless{}) },
				}
				failed := make(chan error, len(requests))
				for _, request := range requests {
					go func() { failed <- request() }()
				}
				for range requests {
					<-d.began
				}
				turn(simulated.DebugOn)
				for range requests {
					requireRefused(t, side, <-failed, expat.ErrReattest)
					require.Error(t, <-d.ended)
				}
				err := <-found
				require.ErrorIs(t, err, expat.ErrReattest)
				require.ErrorIs(t, err, attestation.ErrRejected)

				for range 3 {
					_, _, err := get(t, t.Context(), c, url+"/")
					requireRefused(t, side, err, nil)
				}
				require.Eventually(t, func() bool { return forgotten(tr) }, 5*time.Second, time.Millisecond)
				turn()
				_, body, err := get(t, t.Context(), c, url+"/")
				require.NoError(t, err)
				require.Equal(t, "fine", body)
			})
		}
	}
}

// endless is a body without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { time.Sleep(time.Millisecond); return copy(b, "x"), nil }

// lasting makes a request that may not be repeated, and returns how it ends.
func lasting(c *http.Client, url string, body io.Reader) error {
	resp, err := c.Post(url, "text/plain", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if !strings.HasPrefix(string(got), "first") {
		return errors.New("the response did not begin")
	}
	return err
}

// requireRefused demands the error that the client sees: its own verdict on the
// server, or the alert by which the server says that it has judged the client.
func requireRefused(t *testing.T, side string, err, when error) {
	t.Helper()
	var e *expat.Error
	require.ErrorAs(t, err, &e, "%v", err)
	require.Equal(t, expat.AlertAttestationRejected, e.Alert, "%v", err)
	if when != nil {
		require.ErrorIs(t, err, when)
	}
	if side == "server" {
		require.Equal(t, expat.Local, e.Side)
		require.ErrorIs(t, err, attestation.ErrRejected)
		return
	}
	require.Equal(t, expat.Peer, e.Side)
	require.ErrorIs(t, err, expat.ErrPeerAlert)
}
