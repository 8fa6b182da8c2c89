package expat

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
)

var _ net.Conn = (*Conn)(nil)

// open returns both ends of a good connection.
func open(t testing.TB, direction string) (c, s *Conn) {
	t.Helper()
	cc, sc := newWorld(t).configs(direction)
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	return c, s
}

// The first Read or Write runs the handshake, from many goroutines at once too.
func TestFirstUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uses := map[string]func(c *Conn) error{
		"Read":      func(c *Conn) error { _, err := io.ReadFull(c, make([]byte, 1)); return err },
		"Write":     func(c *Conn) error { _, err := c.Write([]byte("x")); return err },
		"Handshake": func(c *Conn) error { return c.Handshake() },
		"context":   func(c *Conn) error { return c.HandshakeContext(context.Background()) },
	}
	const each = 5
	cc, sc := w.configs(mutual)
	cn, sn := tlspair.Pipe(t)
	c, s := Client(cn, cc), Server(sn, sc)
	var wg sync.WaitGroup
	errs := make(chan error, 2*each*len(uses))
	for range each {
		for _, use := range uses {
			for _, conn := range []*Conn{c, s} {
				wg.Go(func() { errs <- use(conn) })
			}
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.NotNil(t, c.Peer())
	require.NotNil(t, s.Peer())
}

// A handshake that fails fails for all who wait for it, with one error.
func TestFirstUseFails(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(serverAttests)
	cc.Verifier = &toy{appraise: failing(attestation.ErrRejected)}
	cn, sn := tlspair.Pipe(t)
	c, s := Client(cn, cc), Server(sn, sc)
	go func() { _ = s.Handshake() }()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = c.Read(make([]byte, 1)) })
	}
	wg.Wait()
	for _, err := range errs {
		require.Same(t, errs[0], err)
	}
	requireFailure(t, errs[0], StageAppraise, AlertAttestationRejected, Local, attestation.ErrRejected)
	requireDead(t, c)
	require.Error(t, s.Handshake())
}

// What a connection says of itself before, after, and after failure.
func TestAccessors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	requireBlank := func(c *Conn) {
		t.Helper()
		require.Nil(t, c.Peer())
		require.Nil(t, c.PeerCertificates())
		require.True(t, c.Expires().IsZero())
		require.Zero(t, c.ConnectionState())
	}
	cc, sc := w.configs(mutual)
	cn, sn := tlspair.Pipe(t)
	c, s := Client(cn, cc), Server(sn, sc)
	requireBlank(c)
	requireBlank(s)
	require.EqualError(t, c.CloseWrite(), "expat: CloseWrite before the handshake is complete")
	_, _, err1, err2 := handshakes(t, c, s)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, w.server.Leaf.Raw, c.PeerCertificates()[0].Raw)
	require.Equal(t, w.client.Leaf.Raw, s.PeerCertificates()[0].Raw)
	require.Equal(t, attestation.TierAffirming, c.Peer().Tier())
	require.Equal(t, w.server.Leaf.RawSubjectPublicKeyInfo, c.Peer().Binding().SPKI())
	require.NotEqual(t, c.Peer().Binding().Binder(), s.Peer().Binding().Binder())
	require.True(t, c.ConnectionState().HandshakeComplete)
	require.Equal(t, cn, c.NetConn())
	require.Equal(t, sn, s.NetConn())
	require.Equal(t, cn.LocalAddr(), c.LocalAddr())
	require.Equal(t, sn.RemoteAddr(), s.RemoteAddr())

	cc, sc = w.configs(mutual)
	cc.Verifier = &toy{appraise: failing(attestation.ErrRejected)}
	c, s, err1, err2 = connect(t, cc, sc)
	require.Error(t, err1)
	require.Error(t, err2)
	requireBlank(c)
	requireBlank(s)
}

func requireTimeout(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var n net.Error
	require.ErrorAs(t, err, &n)
	require.True(t, n.Timeout())
}

// Deadlines hold for the handshake and after it.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	past := time.Unix(1, 0)
	for _, set := range []func(*Conn) error{
		func(c *Conn) error { return c.SetDeadline(past) },
		func(c *Conn) error { return c.SetReadDeadline(past) },
		func(c *Conn) error { return c.SetWriteDeadline(past) },
	} {
		cc, _ := w.configs(serverAttests)
		cn, _ := tlspair.Pipe(t)
		c := Client(cn, cc)
		require.NoError(t, set(c))
		err := c.Handshake()
		requireFailure(t, err, StageTLS, AlertTimeout, Local, os.ErrDeadlineExceeded)
		requireTimeout(t, err)
		requireDead(t, c)
	}
	c, s := open(t, serverAttests)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	requireTimeout(t, err)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	echo(t, s, c, "a read that timed out can be repeated")
	require.NoError(t, c.SetWriteDeadline(past))
	_, err = c.Write([]byte("x"))
	requireTimeout(t, err)
	require.NoError(t, s.SetDeadline(past))
	_, err = s.Read(make([]byte, 1))
	requireTimeout(t, err)
}

// A deadline that passes inside the exchange ends it as any other timeout does.
func TestDeadlineInExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(serverAttests)
	release := make(chan struct{})
	var c *Conn
	cc.Trace = &Trace{FrameReceived: func(Frame) { _ = c.SetReadDeadline(time.Unix(1, 0)) }}
	sc.Attester = &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
		<-release
		return toyEvidence(b, toyMediaType)
	}}
	cn, sn := tlspair.Pipe(t)
	c = Client(cn, cc)
	s := Server(sn, sc)
	result := make(chan error, 1)
	go func() { result <- s.Handshake() }()
	err := c.Handshake()
	requireFailure(t, err, StageValidate, AlertTimeout, Local, os.ErrDeadlineExceeded)
	close(release)
	requireDead(t, c)
	require.Error(t, <-result)
	requireDead(t, s)
}

// Each direction ends by itself.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	c, s := open(t, mutual)
	for _, pair := range [][2]*Conn{{c, s}, {s, c}} {
		from, to := pair[0], pair[1]
		_, err := from.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, from.CloseWrite())
		all, err := io.ReadAll(to)
		require.NoError(t, err)
		require.Equal(t, "last words", string(all))
		_, err = from.Write([]byte("x"))
		require.Error(t, err)
		if from == c {
			echo(t, s, c, "the other way is open")
		}
	}
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}

// Close twice, before, in and after the handshake.
func TestClose(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(serverAttests)
	cn, sn := tlspair.Pipe(t)
	c := Client(cn, cc)
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Close(), net.ErrClosed)
	requireFailure(t, c.Handshake(), StageTLS, AlertInternal, Local, net.ErrClosed)
	requireDead(t, c)
	requireFailure(t, Server(sn, sc).Handshake(), StageTLS, AlertInternal, Local, io.EOF)

	c, s := open(t, serverAttests)
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Close(), net.ErrClosed)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, c.Handshake(), "it was complete")
	_, err = s.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "close_notify was sent")
}

// Bytes pass unchanged, both ways at once.
func TestStream(t *testing.T) {
	t.Parallel()
	c, s := open(t, mutual)
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	var wg sync.WaitGroup
	for _, pair := range [][2]*Conn{{c, s}, {s, c}} {
		wg.Go(func() {
			_, err := io.Copy(pair[0], bytes.NewReader(sent))
			if err == nil {
				err = pair[0].CloseWrite()
			}
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			got, err := io.ReadAll(pair[1])
			if err != nil || !bytes.Equal(sent, got) {
				t.Errorf("%d bytes: %v", len(got), err)
			}
		})
	}
	wg.Wait()
}

// After the exchange nothing of it runs: no goroutine, no work between Read and
// the TLS connection.
func TestNothingIsLeft(t *testing.T) {
	c, s := open(t, mutual)
	ours := func() int {
		buf := make([]byte, 1<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		n := 0
		for _, stack := range stacks {
			if strings.Contains(stack, "expat.(*sender)") || strings.Contains(stack, "expat.(*exchange)") || strings.Contains(stack, "attestation.wait") {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return ours() == 0 }, 5*time.Second, time.Millisecond)
	msg, got := []byte("0123456789abcdef"), make([]byte, 16)
	pass := func(w io.Writer, r io.Reader) float64 {
		return testing.AllocsPerRun(200, func() {
			_, _ = w.Write(msg)
			_, _ = io.ReadFull(r, got)
		})
	}
	for range 10 { // the runtime allocates too
		if pass(c, s) <= pass(c.tls, s.tls) {
			return
		}
	}
	require.Fail(t, "Read and Write allocate more than those of the TLS connection")
}
