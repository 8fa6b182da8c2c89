package service

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// appraisal is Evidence of a simulated TEE, and the Verifier that accepts it.
func appraisal(b *testing.B) (attestation.Binding, []byte, attestation.Verifier) {
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
	}, simulated.Extractor{})
	require.NoError(b, err)
	binding, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, id, simulated.NewAttester(device))
	require.NoError(b, err)
	return binding, m.Leaves()[0].Value, v
}

// client makes whole appraisals, session and Evidence, over keep-alive connections.
type client struct {
	http     *http.Client
	url      string
	binding  attestation.Binding
	evidence []byte
}

func (c *client) appraise(b *testing.B) {
	r, err := c.http.Post(c.url+query(c.binding), "", nil)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	r, err = c.http.Post(c.url+r.Header.Get("Location"), simulated.MediaType, bytes.NewReader(c.evidence))
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		b.Errorf("status %d", r.StatusCode)
	}
}

// load makes n appraisals with a number of workers, at rate a second if that is not
// 0, and returns how long each took from when it was due.
func (c *client) load(b *testing.B, n, workers int, rate float64) []time.Duration {
	took := make([]time.Duration, n)
	next := make(chan int)
	began := time.Now()
	due := func(i int) time.Time { return began.Add(time.Duration(float64(i) / rate * float64(time.Second))) }
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				from := time.Now()
				if rate > 0 {
					from = due(i)
				}
				c.appraise(b)
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

// BenchmarkServiceAppraise appraises Evidence of a simulated TEE over HTTP on loopback,
// the client in the same process: as fast as it can, then at half of 3,000 a second.
func BenchmarkServiceAppraise(b *testing.B) {
	binding, value, v := appraisal(b)
	w := newWorld(b, func(o *Options) { o.Verifier, o.Logger = v, slog.New(slog.DiscardHandler) })
	srv := httptest.NewServer(w)
	defer srv.Close()
	const workers = 16
	transport := &http.Transport{MaxIdleConnsPerHost: 4 * workers}
	defer transport.CloseIdleConnections()
	c := &client{http: &http.Client{Transport: transport}, url: srv.URL, binding: binding, evidence: value}
	c.load(b, workers, workers, 0)
	p99 := func(took []time.Duration) float64 {
		slices.Sort(took)
		return float64(took[len(took)*99/100]) / float64(time.Millisecond)
	}
	b.Run("full", func(b *testing.B) {
		b.ReportAllocs()
		b.ResetTimer()
		took := c.load(b, b.N, workers, 0)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appraisals/s")
		b.ReportMetric(p99(took), "p99-ms")
	})
	b.Run("half", func(b *testing.B) {
		b.ResetTimer()
		took := c.load(b, b.N, 4*workers, 1500)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appraisals/s")
		b.ReportMetric(p99(took), "p99-ms")
	})
}
