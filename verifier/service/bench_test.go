//go:build unix

package service

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// appraisal is Evidence of a simulated TEE, and the Verifier that accepts it and
// remembers certificate chains as chains says.
func appraisal(b *testing.B, chains *evidence.Chains) (attestation.Binding, []byte, attestation.Verifier) {
	b.Helper()
	vendor, err := simulated.NewVendor("bench", time.Now())
	require.NoError(b, err)
	digest := bytes.Repeat([]byte{1}, 32)
	device, err := vendor.NewDevice(simulated.DeviceOptions{
		HardwareModel: []byte("model"), SoftwareName: "firmware", SoftwareVersion: "1.0", Debug: evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "app", Version: "1", Algorithm: "sha-256", Digest: digest}},
	})
	require.NoError(b, err)
	key, err := device.GenerateKey(elliptic.P256())
	require.NoError(b, err)
	id, err := evidencetest.Identity(key)
	require.NoError(b, err)
	v, err := verifier.New(verifier.Policy{
		Name: "bench", Roots: vendor.Roots(), Measurements: map[string][][]byte{"app": {digest}},
		MinVersions: map[string]string{"firmware": "1.0"}, Instances: [][]byte{device.Instance()},
	}, simulated.Extractor{Chains: chains})
	require.NoError(b, err)
	binding, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, id, simulated.NewAttester(device))
	require.NoError(b, err)
	return binding, m.Leaves()[0].Value, v
}

// client makes whole appraisals, session and Evidence, over one connection. It is
// little more than the socket, as the service is what is measured.
type client struct {
	conn    net.Conn
	r       *bufio.Reader
	open    []byte // request for a session
	submit  []byte // head of the request with Evidence, after the session
	scratch []byte
}

func dial(b *testing.B, addr string, binding attestation.Binding, mediaType string, evidence []byte) *client {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	b.Cleanup(func() { conn.Close() })
	return &client{
		conn: conn, r: bufio.NewReader(conn),
		open:   fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", query(binding)),
		submit: fmt.Appendf(nil, " HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", mediaType, len(evidence), evidence),
	}
}

func (c *client) appraise() error {
	where, err := c.call(c.open, http.StatusCreated)
	if err != nil {
		return err
	}
	c.scratch = append(append(append(c.scratch[:0], "POST "...), where...), c.submit...)
	_, err = c.call(c.scratch, http.StatusOK)
	return err
}

// call makes one request and returns the Location of the answer.
func (c *client) call(request []byte, want int) (string, error) {
	if _, err := c.conn.Write(request); err != nil {
		return "", err
	}
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", err
	}
	if r.StatusCode != want {
		return "", fmt.Errorf("status %d", r.StatusCode)
	}
	_, err = c.r.Discard(int(r.ContentLength))
	return "/challenge-response/v1/" + r.Header.Get("Location"), err
}

// load makes n appraisals over all clients at once, at rate a second if that is not
// 0, and returns how long each took from when it was due.
func load(b *testing.B, clients []*client, n int, rate float64) []time.Duration {
	took := make([]time.Duration, n)
	next := make(chan int)
	began := time.Now()
	due := func(i int) time.Time { return began.Add(time.Duration(float64(i) / rate * float64(time.Second))) }
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			for i := range next {
				from := time.Now()
				if rate > 0 {
					from = due(i)
				}
				if err := c.appraise(); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(from)
			}
		})
	}
	for i := range n {
		if rate > 0 {
			time.Sleep(time.Until(due(i)))
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return took
}

// BenchmarkServiceAppraise makes whole appraisals over HTTP on loopback, the client in
// the same process. Full is Evidence of a simulated TEE as fast as it can, with a
// policy as one from a file, which remembers certificate chains; half is that at half
// of 3,000 a second; unseen remembers none; and free has a Verifier that costs nothing,
// which leaves HTTP and the signature of the EAR.
func BenchmarkServiceAppraise(b *testing.B) {
	binding, value, v := appraisal(b, new(evidence.Chains))
	otherBinding, otherValue, unseen := appraisal(b, nil)
	free := toy{func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		return yes(b)
	}}
	for _, tc := range []struct {
		name      string
		verifier  attestation.Verifier
		binding   attestation.Binding
		value     []byte
		mediaType string
		rate      float64
	}{
		{"full", v, binding, value, simulated.MediaType, 0},
		{"half", v, binding, value, simulated.MediaType, 1500},
		{"unseen", unseen, otherBinding, otherValue, simulated.MediaType, 0},
		{"free", free, binding, value, toyType, 0},
	} {
		b.Run(tc.name, func(b *testing.B) {
			w := newWorld(b, func(o *Options) { o.Verifier, o.Logger = tc.verifier, slog.New(slog.DiscardHandler) })
			srv := httptest.NewServer(w)
			defer srv.Close()
			var clients []*client
			for range 16 {
				clients = append(clients, dial(b, srv.Listener.Addr().String(), tc.binding, tc.mediaType, tc.value))
			}
			load(b, clients, 100, 0)
			b.ReportAllocs()
			spent := processorTime(b)
			b.ResetTimer()
			took := load(b, clients, b.N, tc.rate)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appraisals/s")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100])/float64(time.Millisecond), "p99-ms")
			b.ReportMetric(float64(processorTime(b)-spent)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
		})
	}
}

// processorTime is what this process has used, on all cores: unlike the rate, it does
// not depend on what else the machine does.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
