package expathttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// changing is a toy whose name can be changed while a connection is open.
type changing struct {
	toy
	now atomic.Pointer[string]
}

func (c *changing) become(name string) { c.now.Store(&name) }

func (c *changing) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return (&toy{name: *c.now.Load()}).Attest(ctx, b, accept)
}

// picky is a Verifier that accepts one name only, if it has one.
type picky struct {
	toy
	only string
}

func (p *picky) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	r, err := p.toy.Appraise(ctx, b, m)
	if err == nil && peerName(r, true) != p.only {
		return nil, attestation.Reject(errors.New("another name"))
	}
	return r, err
}

// Both sides ask each other anew, over and over, under requests and under a stream;
// it is one connection all the time, and handlers see the newest verdict.
func TestReattestationUnderRequests(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			cc, sc := configs("alice", "bob", protocol)
			var renewed, failed atomic.Int32
			after := func(_ *expat.Conn, _ *attestation.Result, err error) {
				if err == nil {
					renewed.Add(1)
				} else {
					failed.Add(1)
				}
			}
			cc.ReattestEvery, sc.ReattestEvery = 40*time.Millisecond, 40*time.Millisecond
			cc.AfterReattest, sc.AfterReattest = after, after
			var mu sync.Mutex
			conns, verdicts := map[string]bool{}, map[*attestation.Result]bool{}
			_, addr := serve(t, sc, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _ := expat.FromContext(r.Context())
				if _, ok := conn.Bare(); ok {
					t.Error("the connection carries no frames")
				}
				verdict, _ := FromRequest(r)
				mu.Lock()
				conns[r.RemoteAddr], verdicts[verdict] = true, true
				mu.Unlock()
				fmt.Fprintf(w, "%d %s", r.ProtoMajor, r.TLS.NegotiatedProtocol)
				_ = http.NewResponseController(w).Flush()
				for i := 0; r.URL.Path == "/stream" && i < 50; i++ {
					time.Sleep(10 * time.Millisecond)
					_, _ = w.Write(make([]byte, 5000))
				}
			}))
			c, _ := client(t, cc, Options{})
			want := map[string]string{"h2": "2 h2", "http/1.1": "1 http/1.1"}[protocol]
			for range 30 {
				_, body, err := get(t, t.Context(), c, "https://"+addr+"/")
				require.NoError(t, err)
				require.Equal(t, want, body)
				time.Sleep(5 * time.Millisecond)
			}
			_, body, err := get(t, t.Context(), c, "https://"+addr+"/stream")
			require.NoError(t, err)
			require.Len(t, body, len(want)+50*5000)
			_, _, err = get(t, t.Context(), c, "https://"+addr+"/")
			require.NoError(t, err)
			require.Zero(t, failed.Load())
			require.Greater(t, renewed.Load(), int32(6))
			mu.Lock()
			defer mu.Unlock()
			require.Len(t, conns, 1)
			require.Greater(t, len(verdicts), 2)
		})
	}
}

// What is found anew counts for the next request: demands, and the kind of peer.
func TestDemandsFollowVerdict(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "", "h2")
	cc.Reattest, sc.Reattest = true, true
	server := new(changing)
	server.become("blue")
	sc.Attester = server
	_, addr := serve(t, sc, describe)
	c, tr := client(t, cc, Options{})
	ask := func(name string) error {
		_, _, err := get(t, WithDemands(t.Context(), named(name)), c, "https://"+addr+"/")
		return err
	}
	require.NoError(t, ask("blue"))
	conn := pooled(tr, addr)[0]
	before := conn.class()
	require.Equal(t, before, conn.class())
	server.become("green")
	require.NoError(t, ask("blue"), "until it is asked anew")
	_, err := conn.conn.Reattest(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, before, conn.class())
	require.NoError(t, ask("green"))
	require.Len(t, pooled(tr, addr), 1)
	require.ErrorIs(t, ask("blue"), ErrPeers)
}
