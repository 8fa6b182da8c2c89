// Package demo is the scenario of expat demo: two simulated TEEs attest to each
// other over loopback, and three attacks are refused. Every connection is a real
// one, by the public API.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// Options vary the scenario; the zero Options are the demonstration.
type Options struct {
	// ServerPolicy and ClientPolicy change what that side accepts of the other.
	ServerPolicy, ClientPolicy func(*verifier.Policy)
	// Server is the server's device, in place of a new one.
	Server *Device
	// Client is what the client judges the server by, in place of reference values
	// that fit the device, and Accepts says in words what that is.
	Client  attestation.Verifier
	Accepts string
}

// Device is a simulated TEE, and how reports call its vendor and its software.
type Device struct {
	Device                   *simulated.Device
	Vendor                   *simulated.Vendor
	Maker, Software, Version string
}

// ErrNotAsExpected: something was accepted that must be refused, or the reverse.
var ErrNotAsExpected = errors.New("the demonstration did not go as it must")

// Report is what happened.
type Report struct {
	Exchange Exchange      `json:"exchange"`
	Server   *show.Learned `json:"server"` // what the server learned of the client
	Client   *show.Learned `json:"client"` // what the client learned of the server
	Message  string        `json:"message"`
	Reply    string        `json:"reply"`
	Attacks  []Attack      `json:"attacks"`

	cast  *cast
	steps []show.Step
	took  time.Duration
}

// Exchange is the cost of the honest connection.
type Exchange struct {
	Milliseconds float64 `json:"ms"` // TCP, TLS and the exchange
	Frames       int     `json:"frames"`
	Bytes        int     `json:"bytes"` // of all frames, both directions, before encryption
}

// Run plays the scenario. Errors mean that it could not be played; whether it went
// as it must is for [Report.Check].
func Run(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	c, err := newCast(o)
	if err != nil {
		return nil, err
	}
	r := &Report{cast: c}
	if err := r.honest(ctx); err != nil {
		return nil, err
	}
	for _, a := range attacks() {
		done, err := a.try(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("attack %q: %w", a.name, err)
		}
		r.Attacks = append(r.Attacks, done)
	}
	r.took = time.Since(start)
	return r, nil
}

// honest connects the two sides and passes a message each way.
func (r *Report) honest(ctx context.Context) error {
	log := show.NewLog(nil)
	log.Add(show.Step{Who: client, What: "connect", Note: "TCP to 127.0.0.1"})
	m, err := meet(ctx,
		r.cast.config(r.cast.server, log.Trace(server, client, false)),
		r.cast.config(r.cast.client, log.Trace(client, server, false)))
	if err != nil {
		return err
	}
	defer m.close()
	if err := errors.Join(m.clientErr, m.serverErr); err != nil {
		return fmt.Errorf("%w: the honest connection: %w", ErrNotAsExpected, err)
	}
	r.steps = log.Steps()
	r.Server, r.Client = show.Learn(m.server, client), show.Learn(m.client, server)
	for _, s := range r.steps {
		if s.Bytes > 0 {
			r.Exchange.Frames++
			r.Exchange.Bytes += s.Bytes
		}
		r.Exchange.Milliseconds = float64(s.At.Microseconds()) / 1000
	}
	if r.Message, err = pass(m.client, m.server, "release the salary key to payroll 1.9.0"); err != nil {
		return err
	}
	r.Reply, err = pass(m.server, m.client, "here it is: 4f2a 91c7 08be")
	return err
}

// pass sends a text and returns what arrives.
func pass(from, to *expat.Conn, text string) (string, error) {
	if err := to.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	if _, err := from.Write([]byte(text)); err != nil {
		return "", err
	}
	got := make([]byte, len(text))
	_, err := io.ReadFull(to, got)
	return string(got), err
}

// Check tells whether everything happened as it must.
func (r *Report) Check() error {
	for _, a := range r.Attacks {
		switch {
		case a.Outcome != Refused:
			return fmt.Errorf("%w: the attack %q was accepted", ErrNotAsExpected, a.Name)
		case !a.wanted:
			return fmt.Errorf("%w: the attack %q was refused for another reason: %s", ErrNotAsExpected, a.Name, a.Error)
		}
	}
	return nil
}
