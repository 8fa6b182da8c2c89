package proxy

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/limit"
)

// The values of label outcome.
const (
	accepted = "accepted"
	refused  = "refused"
	failed   = "failed"
)

// latencies are the bounds of histograms, in seconds: a local appraisal takes less
// than one millisecond, one elsewhere up to the timeout.
var latencies = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// metrics are those of a sidecar.
type metrics struct {
	registry *prometheus.Registry

	handshakes    *prometheus.CounterVec
	refusals      *prometheus.CounterVec
	verifier      *prometheus.HistogramVec
	attester      *prometheus.HistogramVec
	expiries      *prometheus.CounterVec
	reattests     *prometheus.CounterVec
	connections   *prometheus.GaugeVec
	received      *prometheus.CounterVec
	sent          *prometheus.CounterVec
	upstreams     *prometheus.CounterVec
	acceptErrors  *prometheus.CounterVec
	certificate   *prometheus.GaugeVec
	reloads       *prometheus.CounterVec
	reloadsPolicy *prometheus.CounterVec
	draining      prometheus.Gauge
	logErrors     prometheus.Counter
}

func newMetrics() *metrics {
	r := prometheus.NewRegistry()
	m := &metrics{registry: r}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "expat_proxy", Name: name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "expat_proxy", Name: name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "expat_proxy", Name: name, Help: help, Buckets: latencies}, labels)
		r.MustRegister(v)
		return v
	}
	m.handshakes = counter("handshakes_total", "Exchanges that were decided, by outcome.", "proxy", "outcome")
	m.refusals = counter("refusals_total", "Connections and requests that were refused, by who found the reason and what it is.", "proxy", "side", "reason")
	m.verifier = histogram("verifier_seconds", "Time that the Verifier took for an appraisal.", "proxy", "outcome")
	m.attester = histogram("attester_seconds", "Time that the Attester took.", "proxy", "outcome")
	m.expiries = counter("expiries_total", "Open connections that ended because a verdict ran out.", "proxy")
	m.reattests = counter("reattestations_total", "Peers that were asked anew on an open connection, by outcome.", "proxy", "outcome")
	m.connections = gauge("connections", "Connections that were accepted and are open.", "proxy")
	m.received = counter("received_bytes_total", "Bytes received on connections that were accepted.", "proxy")
	m.sent = counter("sent_bytes_total", "Bytes sent on connections that were accepted.", "proxy")
	m.upstreams = counter("upstream_errors_total", "Attempts to reach an upstream that failed.", "proxy", "upstream")
	m.acceptErrors = counter("accept_errors_total", "Times that accepting began to fail, as when file descriptors run out.", "proxy")
	m.certificate = gauge("certificate_expiry_timestamp_seconds", "When the certificate of this side runs out, as Unix time.", "proxy")
	m.reloads = counter("reloads_total", "Changes of the configuration and its files, by outcome.", "outcome")
	m.reloadsPolicy = counter("policy_reloads_total", "Changes of policy files, by outcome.", "proxy", "outcome")
	m.draining = gauge("draining", "1 while the sidecar ends, else 0.").WithLabelValues()
	m.logErrors = counter("log_write_errors_total", "Lines of the log that could not be written, as when its file system is full.").WithLabelValues()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// begin makes the counters of a proxy that alerts look at, so that the first time that
// something happens is seen as an increase.
func (m *metrics) begin(proxy string) {
	for _, outcome := range []string{accepted, refused} {
		m.handshakes.WithLabelValues(proxy, outcome)
	}
	for _, outcome := range []string{accepted, failed} {
		m.reloads.WithLabelValues(outcome)
		m.reloadsPolicy.WithLabelValues(proxy, outcome)
		m.reattests.WithLabelValues(proxy, outcome)
	}
	m.expiries.WithLabelValues(proxy)
	m.acceptErrors.WithLabelValues(proxy)
	for alert := expat.AlertMalformed; alert <= expat.AlertProtocol; alert++ {
		for _, side := range []expat.Side{expat.Local, expat.Peer} {
			m.refusals.WithLabelValues(proxy, string(side), reasonOfAlert(alert))
		}
	}
	for _, reason := range []string{"upstream", "negotiation", "tls", string(limit.TooMany), string(limit.TooManyFromClient), string(limit.TooFast)} {
		m.refusals.WithLabelValues(proxy, string(expat.Local), reason)
	}
}

// outcomeOf is a value of label outcome.
func outcomeOf(err error) string {
	if err != nil {
		return failed
	}
	return accepted
}

func observe(h *prometheus.HistogramVec, proxy string, took time.Duration, err error) {
	h.WithLabelValues(proxy, outcomeOf(err)).Observe(took.Seconds())
}

// reasonOf is what a refusal is counted as: who found it, and one of a fixed set.
func reasonOf(err error) (side, reason string) {
	var e *expat.Error
	switch {
	case !errors.As(err, &e):
		return string(expat.Local), "upstream"
	case e.Stage == expat.StageNegotiate, errors.Is(err, expat.ErrNegotiation):
		return string(e.Side), "negotiation"
	case e.Stage == expat.StageTLS:
		return string(e.Side), "tls"
	case e.Stage == expat.StageConfig:
		return string(e.Side), "config"
	case e.Alert > expat.AlertProtocol:
		return string(e.Side), "other" // the peer chooses the number
	}
	return string(e.Side), reasonOfAlert(e.Alert)
}

func reasonOfAlert(a expat.Alert) string { return strings.ReplaceAll(a.String(), " ", "_") }
