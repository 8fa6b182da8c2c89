package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/expatquic"
)

// Example runs the program. Each line is printed after what it tells of, so the
// order is always this.
func Example() {
	main()
	// Output:
	// payroll: the server is affirming and runs [map[algorithm:sha-256 digest:e6f0a1fbb43c89196dcfcbef85908f19ab4c5f7cc4f4c452284697757683d7ef name:program]]
	// payroll: HTTP/3.0 200 OK: you are affirming and run [map[algorithm:sha-256 digest:60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56 name:program]]
	// payroll: the server is asked anew and is affirming
	// payroll: HTTP/3.0 200 OK: you are affirming and run [map[algorithm:sha-256 digest:60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56 name:program]]
	// payroll: the server is asked anew and is affirming
	// stranger: the server gives us no connection: attestation rejected
}

// turning is an Attester whose Evidence is of another program once it has turned.
type turning struct {
	attestation.Attester
	then attestation.Attester
	now  atomic.Bool
}

func (a *turning) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if a.now.Load() {
		return a.then.Attest(ctx, b, accept)
	}
	return a.Attester.Attest(ctx, b, accept)
}

// Each of the two sides loses its connection when its state goes bad, and with it the
// request under way, on both sides. The next request makes a new one, and gets none.
func TestSidesThatTurnBad(t *testing.T) {
	vendor := must(simulated.NewVendor("example", time.Now()))
	for _, turns := range []string{"server", "client"} {
		t.Run(turns, func(t *testing.T) {
			vault, payroll := side(vendor, "vault", "payroll"), side(vendor, "payroll", "vault")
			bad, judge := vault, payroll
			if turns == "client" {
				bad, judge = payroll, vault
			}
			malware := must(vendor.NewDevice(simulated.DeviceOptions{Debug: evidence.DebugDisabled, Measurements: measure("malware")}))
			state := &turning{Attester: bad.Attester, then: simulated.NewAttester(malware, simulated.ForeignKey)}
			bad.Attester, judge.ReattestEvery = state, 100*time.Millisecond

			answered := make(chan error, 1)
			srv := &http3.Server{ConnContext: expatquic.ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				check(http.NewResponseController(w).Flush())
				_, err := io.Copy(w, forever{})
				answered <- err
			})}
			ln := must(expatquic.Listen("127.0.0.1:0", vault, nil))
			go serve(srv, ln)
			transport := &http3.Transport{Dial: func(ctx context.Context, addr string, _ *tls.Config, conf *quic.Config) (*quic.Conn, error) {
				conn, err := expatquic.Dial(ctx, addr, payroll, conf)
				if err != nil {
					return nil, err
				}
				return conn.QUIC(), nil
			}}
			client := &http.Client{Transport: transport}
			url := "https://" + ln.Addr().String()

			resp := must(client.Get(url))
			must(io.CopyN(io.Discard, resp.Body, 1<<20))
			state.now.Store(true)
			_, err := io.Copy(io.Discard, resp.Body)
			for _, err := range []error{err, <-answered} {
				if alert, ok := expatquic.AlertOf(err); !ok || alert != expat.AlertAttestationRejected {
					t.Errorf("the request ends with %v", err)
				}
			}
			var refused *expat.Error
			if _, err = client.Get(url); !errors.As(err, &refused) || refused.Alert != expat.AlertAttestationRejected {
				t.Errorf("a new connection fails with %v", err)
			}
			check(transport.Close())
			check(srv.Close())
			check(ln.Close())
		})
	}
}

// forever is a body without end.
type forever struct{}

func (forever) Read(b []byte) (int, error) { return len(b), nil }
