package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/remote"
)

// startVerifier runs expat verifier serve in a process of its own.
func startVerifier(t *testing.T, dir, listen string, more ...string) (p *exec.Cmd, addr string) {
	t.Helper()
	p = exec.Command("expat", append([]string{"verifier", "serve", "--state", dir, "--side", "client", "--listen", listen}, more...)...)
	p.Env = append(os.Environ(), noExitSleep)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	require.True(t, ok, line)
	return p, addr
}

// relyingParty is a server that has its clients appraised elsewhere, and echoes.
type relyingParty struct {
	addr     string
	verifier *remote.Verifier
	refused  atomic.Int32
	reason   atomic.Value
	trust    *state.Trust
	own      *platform.Own
}

func newRelyingParty(t *testing.T, dir, verifier string, change ...func(*expat.Config)) *relyingParty {
	t.Helper()
	trust, keys, err := state.Create(dir, time.Now())
	require.NoError(t, err)
	source, err := ear.JWKSFile(filepath.Join(dir, appraise.JWKSFile))
	require.NoError(t, err)
	checker, err := ear.NewChecker(ear.CheckerOptions{Keys: source, Issuer: "expat-verifier"})
	require.NoError(t, err)
	rp := &relyingParty{trust: trust}
	rp.verifier, err = remote.New(remote.Options{
		URL: "http://" + verifier, PlainHTTPToLoopback: true, SendKey: true, Checker: checker,
		MediaTypes: []string{simulated.MediaType}, BreakAfter: 3, BreakFor: 200 * time.Millisecond,
	})
	require.NoError(t, err)
	rp.own, err = platform.Attest(t.Context(), platform.Options{State: dir, Platform: platform.Simulated, Side: state.Client, Names: []string{"client"}})
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert, err := keys.CA.Leaf(key, x509.ExtKeyUsageServerAuth, time.Now(), "127.0.0.1")
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	rp.addr = ln.Addr().String()
	cfg := &expat.Config{
		TLS:      &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: trust.Roots()},
		Verifier: rp.verifier,
		Refused: func(_ net.Addr, err error) {
			rp.refused.Add(1)
			rp.reason.Store(err)
		},
	}
	for _, f := range change {
		f(cfg)
	}
	l := expat.NewListener(ln, cfg)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		served.Wait()
		require.NoError(t, rp.verifier.Close())
		require.NoError(t, rp.own.Close())
	})
	return rp
}

func (rp *relyingParty) dial(ctx context.Context) (*expat.Conn, error) {
	return expat.Dial(ctx, "tcp", rp.addr, &expat.Config{
		TLS:      &tls.Config{RootCAs: rp.trust.Roots(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{rp.own.Certificate}},
		Attester: rp.own.Attester, Reattest: true,
	})
}

func echoes(c net.Conn) error {
	want := []byte("still here")
	got := make([]byte, len(want))
	if _, err := c.Write(want); err != nil {
		return err
	}
	_, err := io.ReadFull(c, got)
	return err
}

// A verifier that is killed under load costs no connection that was accepted, and opens
// none; when it is back, so is everything, without a restart of anybody else.
func TestVerifierKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	process, addr := startVerifier(t, dir, "127.0.0.1:0")
	rp := newRelyingParty(t, dir, addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var mu sync.Mutex
	var open []*expat.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	var down atomic.Bool
	var load sync.WaitGroup
	killed := make(chan struct{})
	for range 4 {
		load.Go(func() {
			for range 15 {
				wasDown := down.Load()
				c, err := rp.dial(ctx)
				switch {
				case err == nil && wasDown:
					t.Error("a connection opened while the verifier was down")
					return
				case err == nil:
					mu.Lock()
					open = append(open, c)
					if len(open) == 10 {
						close(killed)
					}
					mu.Unlock()
				case !errors.Is(err, expat.ErrPeerAlert):
					t.Errorf("refused otherwise: %v", err)
				}
			}
		})
	}
	<-killed
	require.NoError(t, process.Process.Kill())
	_ = process.Wait()
	down.Store(true)
	load.Wait()
	require.NotZero(t, rp.refused.Load())
	require.ErrorIs(t, rp.reason.Load().(error), attestation.ErrUnavailable)
	require.NotEqual(t, remote.Closed, rp.verifier.State())
	for _, c := range open {
		require.NoError(t, echoes(c), "an accepted connection goes on")
	}

	startVerifier(t, dir, addr)
	require.Eventually(t, func() bool {
		c, err := rp.dial(ctx)
		if err == nil {
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
		}
		return err == nil && echoes(c) == nil
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, remote.Closed, rp.verifier.State())
}
