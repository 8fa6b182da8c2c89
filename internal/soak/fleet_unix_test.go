//go:build unix

package soak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

// This file is the process that holds the clients of TestIdleFleet.

// fleetEnv holds a fleetOrder.
const fleetEnv = "EXPAT_SOAK_FLEET"

type fleetOrder struct {
	Addr       string
	CA, Vendor []byte // their roots, in DER
	Conns      int
	Every, For time.Duration
}

// fleetReport is written twice: when all connections are open, and at the end.
type fleetReport struct {
	Took            time.Duration
	Heap            float64       `json:",omitempty"` // bytes that the connections hold
	Spent           time.Duration `json:",omitempty"` // processor time
	Renewed, Failed int64         `json:",omitempty"`
	Error           string        `json:",omitempty"` // why the first one failed
}

// fleet carries out an order and returns the process's status.
func fleet(text string) int {
	var o fleetOrder
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		_ = json.NewEncoder(os.Stdout).Encode(fleetReport{Error: err.Error()})
		return 1
	}
	return 0
}

func (o *fleetOrder) run() error {
	var renewed, failed atomic.Int64
	var first atomic.Value
	cfg, err := o.config(func(_ *expat.Conn, _ *attestation.Result, err error) {
		if err == nil {
			renewed.Add(1)
		} else if failed.Add(1) == 1 {
			first.Store(err.Error())
		}
	})
	if err != nil {
		return err
	}
	heap, start := heapInUse(), time.Now()
	conns, err := o.open(cfg)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(fleetReport{Took: time.Since(start), Heap: heapInUse() - heap}); err != nil {
		return err
	}
	renewed.Store(0)
	cpu, err := usage()
	if err != nil {
		return err
	}
	start = time.Now()
	time.Sleep(o.For)
	r := fleetReport{Took: time.Since(start), Renewed: renewed.Load(), Failed: failed.Load()}
	r.Error, _ = first.Load().(string)
	now, err := usage()
	if err != nil {
		return err
	}
	r.Spent = now - cpu
	for _, c := range conns {
		_ = c.Close()
	}
	return out.Encode(r)
}

// config is that of clients that demand Evidence and have none.
func (o *fleetOrder) config(after func(*expat.Conn, *attestation.Result, error)) (*expat.Config, error) {
	ca, err1 := x509.ParseCertificate(o.CA)
	vendor, err2 := x509.ParseCertificate(o.Vendor)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	roots, vendors := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	vendors.AddCert(vendor)
	policy, err := newPolicy(vendors)
	if err != nil {
		return nil, err
	}
	return &expat.Config{
		TLS: &tls.Config{RootCAs: roots, ServerName: serverName}, Verifier: policy,
		ReattestEvery: o.Every, Timeout: 30 * time.Second, AfterReattest: after,
	}, nil
}

// open opens the connections, a few at a time and spread over one interval, as those
// of a fleet that has been up for long are.
func (o *fleetOrder) open(cfg *expat.Config) ([]*expat.Conn, error) {
	out := make([]*expat.Conn, o.Conns)
	errs := make([]error, o.Conns)
	places := make(chan struct{}, 2*runtime.NumCPU())
	var wg sync.WaitGroup
	start := time.Now()
	for i := range o.Conns {
		time.Sleep(time.Until(start.Add(o.Every * time.Duration(i) / time.Duration(o.Conns))))
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			c, err := expat.Dial(context.Background(), "tcp", o.Addr, cfg)
			if err != nil {
				errs[i] = fmt.Errorf("connection %d: %w", i, err)
			}
			out[i] = c
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}
