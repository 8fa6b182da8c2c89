package expat

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/tlspair"
	"github.com/expat-go/expat/internal/wire"
)

// listen returns a listener on loopback, closed when the test ends.
func listen(t testing.TB, cfg *Config) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := NewListener(ln, cfg)
	t.Cleanup(func() { l.Close() })
	return l
}

// serve echoes on every connection that Accept hands out, until it fails.
func serve(t testing.TB, l net.Listener) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer nc.Close(); _, _ = io.Copy(nc, nc) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

func dial(t testing.TB, l net.Listener, cfg *Config) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, "tcp", l.Addr().String(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// Silent, bad and refused clients hold up no good one, and show in Refused.
func TestListenerServesGoodClients(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), newWorld(t)
	cc, sc := w.configs(clientAttests)
	var mu sync.Mutex
	var refused []error
	sc.Refused = func(remote net.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		if remote != nil {
			refused = append(refused, err)
		}
	}
	l := listen(t, sc)
	serve(t, l)
	for range 8 {
		nc, err := net.Dial("tcp", l.Addr().String()) // says nothing
		require.NoError(t, err)
		defer nc.Close()
	}
	for range 4 {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		_, err = nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.NoError(t, err)
		defer nc.Close()

		p, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: w.ca.Pool(), ServerName: serverName, NextProtos: []string{"expat/1"}})
		require.NoError(t, err) // completes TLS, then says nothing
		defer p.Close()

		bad, _ := w.configs(clientAttests)
		bad.Identities = []tls.Certificate{leaf(t, stranger.ca, "client.test")}
		_, err = Dial(t.Context(), "tcp", l.Addr().String(), bad)
		requireFailure(t, err, StageResult, AlertCertificate, Peer, ErrPeerAlert)
	}
	for range 4 {
		c := dial(t, l, cc)
		echo(t, c, c, "hello")
		require.NotNil(t, c)
	}
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(refused) == 8 }, 5*time.Second, time.Millisecond)
	stages := map[Stage]int{}
	for _, err := range refused {
		var e *Error
		require.ErrorAs(t, err, &e)
		stages[e.Stage]++
	}
	require.Equal(t, map[Stage]int{StageTLS: 4, StageValidate: 4}, stages)
}

// DESIGN 9, I-17: no more than MaxExchanges run at a time; the others wait, and
// within their Timeout only.
func TestListenerBoundsExchanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, most := range []int{1, 3} {
		_, sc := w.configs(serverAttests)
		var running, peak atomic.Int32
		sc.MaxExchanges = most
		sc.Attester = &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			time.Sleep(20 * time.Millisecond)
			return toyEvidence(b, toyMediaType)
		}}
		l := listen(t, sc)
		serve(t, l)
		var wg sync.WaitGroup
		for range 3 * most {
			wg.Go(func() {
				cc, _ := w.configs(serverAttests)
				c, err := Dial(context.Background(), "tcp", l.Addr().String(), cc)
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		wg.Wait()
		require.Equal(t, int32(most), peak.Load())

		// So it is for servers of that Config that no listener made.
		for range 3 * most {
			cc, _ := w.configs(serverAttests)
			cn, sn := tlspair.Pipe(t)
			c, s := Client(cn, cc), Server(sn, sc)
			wg.Go(func() { _ = s.Handshake() })
			wg.Go(func() {
				if err := c.Handshake(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int32(most), peak.Load())
	}
}

// Two clients ask, and there is one place to answer them: who waits for it runs
// into its own deadline.
func TestListenerWaitTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(serverAttests)
		sc.MaxExchanges, sc.Timeout = 1, time.Second
		sc.Attester = &toy{attest: func(ctx context.Context, _ attestation.Binding) (*cmw.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		refused := make(chan error, 2)
		sc.Refused = func(_ net.Addr, err error) { refused <- err }
		q := newQueue()
		l := NewListener(q, sc)
		go func() { _, _ = l.Accept() }()
		start := time.Now()
		slow := Client(q.dial(), cc)
		time.Sleep(200 * time.Millisecond)
		quick := Client(q.dial(), cc)
		go func() { _ = quick.Handshake() }()
		time.Sleep(300 * time.Millisecond)
		require.Error(t, slow.Handshake())
		err := <-refused
		requireFailure(t, err, StageRequest, AlertTimeout, Local, context.DeadlineExceeded)
		require.ErrorContains(t, err, "waiting for one of 1 exchanges to be done")
		require.Equal(t, time.Second, time.Since(start))
		requireFailure(t, <-refused, StageAttest, AlertTimeout, Local, context.DeadlineExceeded)
		require.Equal(t, 1200*time.Millisecond, time.Since(start))
		require.NoError(t, l.Close())
	})
}

// Clients that finish TLS and then say nothing, or only HELLO, take no place from
// one that goes on (I-17).
func TestListenerSilentAfterTLS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(serverAttests)
		sc.MaxExchanges = 1
		q := newQueue()
		l := NewListener(q, sc)
		accepted := make(chan net.Conn, 1)
		go func() {
			if c, err := l.Accept(); err == nil {
				accepted <- c
			}
		}()
		payload, err := wire.HelloMap{WillRequest: true, MediaTypes: []string{toyMediaType}}.Encode()
		require.NoError(t, err)
		hello, err := wire.Append(nil, wire.Hello, payload)
		require.NoError(t, err)
		for i := range 8 {
			silent := tls.Client(q.dial(), &tls.Config{RootCAs: cc.TLS.RootCAs, ServerName: serverName, NextProtos: []string{"expat/1"}})
			require.NoError(t, silent.Handshake())
			if i%2 == 0 {
				_, err := silent.Write(hello)
				require.NoError(t, err)
			}
		}
		synctest.Wait()
		start := time.Now()
		good := Client(q.dial(), cc)
		require.NoError(t, good.Handshake())
		require.Zero(t, time.Since(start), "in virtual time")
		require.NotNil(t, good.Peer())
		require.NoError(t, (<-accepted).Close())
		require.NoError(t, good.Close())
		require.NoError(t, l.Close())
	})
}

// Newcomers that take every place hold up no exchange on an open connection.
func TestListenerRenewsBesideNewcomers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(serverAttests)
		renewing(cc)
		renewing(sc)
		var stall atomic.Bool
		sc.MaxExchanges = 1
		sc.Attester = &toy{attest: func(ctx context.Context, b attestation.Binding) (*cmw.Message, error) {
			if stall.CompareAndSwap(true, false) {
				<-ctx.Done()
			}
			return toyEvidence(b, toyMediaType)
		}}
		q := newQueue()
		l := NewListener(q, sc)
		good := Client(q.dial(), cc)
		go func() { _ = good.Handshake() }()
		s, err := l.Accept()
		require.NoError(t, err)
		stall.Store(true)
		newcomer := Client(q.dial(), cc)
		ended := make(chan error, 1)
		go func() { ended <- newcomer.Handshake() }()
		time.Sleep(time.Second)
		start := time.Now()
		_, err = good.Reattest(t.Context())
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Second)
		require.NoError(t, l.Close())
		require.Error(t, <-ended)
		require.NoError(t, good.Close())
		require.NoError(t, s.Close())
	})
}

// Close ends handshakes under way at once, leaves open connections alone, and
// leaves no goroutine (which synctest demands).
func TestListenerClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(serverAttests)
		refused := make(chan error, 8)
		sc.Refused = func(_ net.Addr, err error) { refused <- err }
		q := newQueue()
		l := NewListener(q, sc)
		good := Client(q.dial(), cc)
		go func() { _ = good.Handshake() }()
		s, err := l.Accept()
		require.NoError(t, err)
		silent := q.dial()
		half, _ := newWorld(t).configs(serverAttests)
		halfway := tls.Client(q.dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"expat/1"}, RootCAs: half.TLS.RootCAs})
		require.NoError(t, halfway.Handshake())
		synctest.Wait()
		start := time.Now()
		require.NoError(t, l.Close())
		for range 2 {
			err := <-refused
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, net.ErrClosed)
		}
		require.Zero(t, time.Since(start))
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		go func() { _, _ = s.Write([]byte("still here")) }()
		got := make([]byte, 10)
		_, err = io.ReadFull(good, got)
		require.NoError(t, err)
		require.NoError(t, good.Close())
		require.NoError(t, s.Close())
		silent.Close()
		halfway.NetConn().Close()
	})
	// Before the first Accept, and twice.
	l := NewListener(newQueue(), &Config{})
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err := l.Accept()
	require.Error(t, err)
}

// A connection that nobody accepts is closed with the listener.
func TestListenerCloseUnaccepted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(serverAttests)
		q := newQueue()
		l := NewListener(q, sc)
		first := Client(q.dial(), cc)
		go func() { _ = first.Handshake() }()
		s, err := l.Accept()
		require.NoError(t, err)
		second := Client(q.dial(), cc)
		require.NoError(t, second.Handshake())
		synctest.Wait()
		require.NoError(t, l.Close())
		_, err = second.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_ = s.Close()
	})
}

// queue is a net.Listener in memory whose Accept can fail as told.
type queue struct {
	conns chan net.Conn
	errs  chan error
	done  chan struct{}
	once  sync.Once
}

func newQueue() *queue {
	return &queue{conns: make(chan net.Conn, 8), errs: make(chan error, 8), done: make(chan struct{})}
}

func (q *queue) dial() net.Conn {
	a, b := delayPipe(0)
	q.conns <- b
	return a
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case err := <-q.errs:
		return nil, err
	default:
	}
	select {
	case err := <-q.errs:
		return nil, err
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error   { q.once.Do(func() { close(q.done) }); return nil }
func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "queue"} }

type temporaryError struct{ temporary bool }

func (temporaryError) Error() string     { return "too many open files" }
func (e temporaryError) Temporary() bool { return e.temporary }

// Errors of Accept that pass are waited out with growing delays; others show.
func TestListenerAcceptErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(serverAttests)
		q := newQueue()
		l := NewListener(q, sc)
		for range 3 {
			q.errs <- temporaryError{true}
		}
		c := Client(q.dial(), cc)
		go func() { _ = c.Handshake() }()
		start := time.Now()
		s, err := l.Accept()
		require.NoError(t, err)
		require.Equal(t, (5+10+20)*time.Millisecond, time.Since(start))
		_, _ = s.Close(), c.Close()

		q.errs <- temporaryError{true}
		synctest.Wait()
		q.errs <- temporaryError{false}
		q.dial().Close() // wakes Accept up
		_, err = l.Accept()
		require.Equal(t, temporaryError{false}, err)
		_, err = l.Accept()
		require.Equal(t, temporaryError{false}, err)
		require.NoError(t, l.Close())
	})
}

func TestListenerConfigError(t *testing.T) {
	t.Parallel()
	for _, cfg := range []*Config{nil, {}} {
		l := NewListener(newQueue(), cfg)
		for range 2 {
			_, err := l.Accept()
			requireFailure(t, err, StageConfig, AlertInternal, Local, ErrConfig)
		}
		require.NoError(t, l.Close())
	}
}

func TestFromContext(t *testing.T) {
	t.Parallel()
	c := new(Conn)
	got, ok := FromContext(ConnContext(context.Background(), c))
	require.True(t, ok)
	require.Same(t, c, got)
	cn, _ := net.Pipe()
	_, ok = FromContext(ConnContext(context.Background(), cn))
	require.False(t, ok)
	require.False(t, errors.Is(cn.Close(), net.ErrClosed))
}
