package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The directions on the wire between two sidecars.
const fromClient, fromServer = 0, 1

// cut says after how many records of one side connections are cut, by a reset or else
// by FIN.
type cut struct {
	from    int
	records int64
	hard    bool
}

// cutter forwards TLS connections until they are to be cut. Frames begin and end with
// records, so a cut after each record is one at each boundary of frames.
type cutter struct {
	*backend
	plan atomic.Pointer[cut]
	seen [2]atomic.Int64 // records of the latest connection

	mu   sync.Mutex
	open map[net.Conn]bool
}

var never = &cut{records: 1 << 40}

func newCutter(t *testing.T, to string) *cutter {
	x := &cutter{open: make(map[net.Conn]bool)}
	x.plan.Store(never)
	x.backend = serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		plan := x.plan.Load()
		x.mu.Lock()
		x.open[c] = true
		x.mu.Unlock()
		defer func() {
			x.mu.Lock()
			delete(x.open, c)
			x.mu.Unlock()
		}()
		var ways sync.WaitGroup
		ways.Go(func() { x.pass(up, c, fromClient, plan) })
		x.pass(c, up, fromServer, plan)
		ways.Wait()
		_ = up.Close()
	})
	return x
}

// pass forwards the records of one side.
func (x *cutter) pass(to, from net.Conn, side int, plan *cut) {
	x.seen[side].Store(0)
	for n := int64(0); ; n++ {
		if side == plan.from && n == plan.records {
			if !plan.hard {
				break
			}
			for _, c := range []net.Conn{to, from} {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
			return
		}
		record := make([]byte, 5, 5+1<<14+256)
		if _, err := io.ReadFull(from, record); err != nil {
			break
		}
		record = record[:5+binary.BigEndian.Uint16(record[3:])]
		if _, err := io.ReadFull(from, record[5:]); err != nil {
			break
		}
		if _, err := to.Write(record); err != nil {
			break
		}
		x.seen[side].Add(1)
	}
	_ = to.(*net.TCPConn).CloseWrite() // FIN, and nothing that says why
	if side == plan.from && plan != never {
		_ = from.(*net.TCPConn).CloseRead()
	}
}

// drop ends all connections, which a client keeps for requests to come.
func (x *cutter) drop(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		for c := range x.open {
			_ = c.Close()
		}
		return len(x.open) == 0
	}, "all are gone")
}

// each cuts after each of the first records of both sides, in both ways.
func (x *cutter) each(records [2]int64, try func(at cut)) {
	for from, last := range records {
		for n := int64(0); n <= last; n++ {
			for _, hard := range []bool{false, true} {
				at := cut{from, n, hard}
				x.plan.Store(&at)
				try(at)
			}
		}
	}
	x.plan.Store(never)
}

// exchange is how many records each side sends until application data flows.
func (x *cutter) exchange(t *testing.T, server, client *running) (n [2]int64) {
	t.Helper()
	c, err := net.Dial("tcp", client.addrs["out"])
	require.NoError(t, err)
	eventually(t, func() bool { return client.log.lines(t, "opened") == 1 && server.log.lines(t, "opened") == 1 }, "open")
	n = [2]int64{x.seen[fromClient].Load(), x.seen[fromServer].Load()}
	require.NoError(t, c.Close())
	require.Greater(t, n[fromClient], int64(3))
	require.Greater(t, n[fromServer], int64(3))
	return n
}

// A connection between sidecars that is cut at any boundary of frames, in either
// direction: no backend hears of it within the exchange, and no program takes it for an
// end.
func TestCutAtEveryFrame(t *testing.T) {
	t.Parallel()
	for _, reattest := range []string{"reattest: false", "reattest: true"} { // where frames go on
		t.Run(reattest, func(t *testing.T) {
			t.Parallel()
			testCutAtEveryFrame(t, reattest)
		})
	}
}

func testCutAtEveryFrame(t *testing.T, reattest string) {
	dir := newState(t)
	var got atomic.Int64
	b := serve(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		n, _ := io.Copy(c, c)
		got.Add(n)
		_, _ = io.WriteString(c, " and the end")
	})
	server := start(t, dir, serverSide(b.addr, reattest))
	x := newCutter(t, server.addrs["web"])
	client := start(t, dir, clientSide(x.addr, reattest))
	exchange := x.exchange(t, server, client)

	x.each([2]int64{exchange[fromClient] - 1, exchange[fromServer] - 1}, func(at cut) {
		_, err := ask(t, client.addrs["out"], "hello")
		require.Error(t, err, at)
	})
	eventually(t, func() bool { return server.metric("connections", `proxy="web"`) == 0 }, "nothing is left")
	require.Zero(t, got.Load(), "no byte passes before the exchange is complete on both sides")
	opened := server.metric("handshakes_total", `outcome="accepted",proxy="web"`)
	require.EqualValues(t, opened, b.conns.Load(), "the backend hears of accepted clients alone")
	require.LessOrEqual(t, opened, 6.0, "the last word may be lost on the way to the client")

	whole := [2]int64{exchange[fromClient] + 4, exchange[fromServer] + 4} // data, and the ends of both streams
	x.each(whole, func(at cut) {
		answer, err := ask(t, client.addrs["out"], "hello")
		if err == nil {
			require.Equal(t, "hello and the end", answer, at)
		}
	})
	time.Sleep(time.Second)            // so that the log tells of each cut again
	cuts := server.log.lines(t, "cut") // a megabyte is on its way
	x.plan.Store(&cut{fromClient, exchange[fromClient] + 20, false})
	_, err := ask(t, client.addrs["out"], strings.Repeat("x", 1<<20))
	require.Error(t, err)
	eventually(t, func() bool { return server.log.lines(t, "cut") > cuts }, "no orderly end")
	x.plan.Store(never)

	answer, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.Equal(t, "hello and the end", answer)
	for _, s := range []*running{server, client} {
		for name := range s.addrs {
			if name != "admin" {
				eventually(t, func() bool { return s.metric("connections", `proxy="`+name+`"`) == 0 }, "nothing is left")
			}
		}
	}
}

// The same in mode http.
func TestCutAtEveryFrameOfHTTP(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	var requests atomic.Int64
	b := web(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, "the answer")
	})
	server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http"))
	x := newCutter(t, server.addrs["web"])
	client := start(t, dir, clientSide(x.addr, "mode: http"))
	get := func() (string, error) {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		resp, err := c.Get("http://" + client.addrs["out"])
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return string(body), err
	}
	good := func() {
		t.Helper()
		answer, err := get()
		require.NoError(t, err)
		require.Equal(t, "the answer", answer)
	}
	good()
	whole := [2]int64{x.seen[fromClient].Load(), x.seen[fromServer].Load()}
	accepts := func() float64 { return server.metric("handshakes_total", `outcome="accepted",proxy="web"`) }
	x.each(whole, func(at cut) {
		x.drop(t)
		served, handshakes := requests.Load(), accepts()
		answer, err := get()
		if err == nil {
			require.Equal(t, "the answer", answer, at)
		}
		require.LessOrEqual(t, float64(requests.Load()-served), accepts()-handshakes, "a request reaches the backend on an attested connection alone")
	})
	x.drop(t)
	good()
}
