// Package attack runs the attacks of package attacktest on a live endpoint whose
// state directory the user has: what expat attack does.
package attack

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attacktest/simparty"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// ErrAccepted: an attack was not refused.
var ErrAccepted = errors.New("the endpoint did not refuse every attack")

// ErrGone: after the attacks the endpoint, or the client, served honest peers no more.
var ErrGone = errors.New("the endpoint did not survive the attacks")

// ErrAddress: the address is not one to be attacked.
var ErrAddress = errors.New("address")

// Options say what is attacked, and with what.
type Options struct {
	Address string // HOST:PORT
	State   string // the endpoint's state directory
	// BeyondLoopback attacks other machines than this one.
	BeyondLoopback bool
	attacktest.Options
}

// Report is what happened.
type Report struct {
	Address       string               `json:"address"`
	Attacks       []attacktest.Outcome `json:"attacks"`        // those that were tried
	NotApplicable []attacktest.Outcome `json:"not_applicable"` // with the reason in note
	all           []attacktest.Outcome
}

// Run attacks. Its error means that the attacks mean nothing, or were the end of the
// endpoint ([ErrGone]), or of ctx; there is a Report with it if any was tried. Whether
// they were refused is for [Report.Check].
func Run(ctx context.Context, o Options) (*Report, error) {
	addr, err := resolve(ctx, o.Address, o.BeyondLoopback)
	if err != nil {
		return nil, err
	}
	t, err := target(o, addr)
	if err != nil {
		return nil, err
	}
	outcomes, err := attacktest.Run(ctx, t, o.Options)
	if outcomes == nil {
		return nil, err
	}
	if errors.Is(err, attacktest.ErrHonest) {
		err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	r := &Report{Address: o.Address, all: outcomes, Attacks: []attacktest.Outcome{}, NotApplicable: []attacktest.Outcome{}}
	for i := range outcomes {
		out := &outcomes[i]
		out.Note, out.Alert = show.Line(out.Note, maxNote), show.Line(out.Alert, maxNote) // the endpoint has a say in them
		if out.Outcome == attacktest.NotApplicable {
			r.NotApplicable = append(r.NotApplicable, *out)
		} else {
			r.Attacks = append(r.Attacks, *out)
		}
	}
	return r, err
}

// maxNote is how much of a note is told, in characters.
const maxNote = 500

// WriteText prints the report for a person.
func (r *Report) WriteText(w io.Writer) error { return attacktest.WriteTable(w, r.all) }

// Check tells whether every attack was refused. One that could not be tried was
// not.
func (r *Report) Check() error {
	for _, out := range r.Attacks {
		if out.Outcome != attacktest.Refused {
			return fmt.Errorf("%w: %q was %s by the %s, %s; %s should have refused it",
				ErrAccepted, out.Name, out.Outcome, out.Victim, out.Note, out.Defence)
		}
	}
	return nil
}

// resolve finds the one address that is dialled from then on.
func resolve(ctx context.Context, address string, beyondLoopback bool) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return "", fmt.Errorf("%w %q must be HOST:PORT", ErrAddress, address)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	for _, ip := range ips {
		if !beyondLoopback && !ip.Unmap().IsLoopback() {
			return "", fmt.Errorf("%w %q is not on this machine; if the endpoint there is yours to attack, add --attack-beyond-loopback", ErrAddress, address)
		}
	}
	return net.JoinHostPort(preferred(ips).String(), port), nil
}

// preferred is an IPv4 address if there is one: expat serve listens there.
func preferred(ips []netip.Addr) netip.Addr {
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip
		}
	}
	return ips[0]
}

// clientLifetime is how long the client's verdicts hold: short enough to run out, and
// for the client to ask anew, while other attacks wait for a deadline of 30 s.
const clientLifetime = 15 * time.Second

// target has what the state directory gives away: both CAs, so an attacker who
// has certificates and devices of any kind, and a client as expat connect is.
func target(o Options, addr string) (attacktest.Target, error) {
	now := time.Now()
	var none attacktest.Target
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return none, err
	}
	trust, err := state.Load(o.State, now)
	if err != nil {
		return none, err
	}
	keys, err := state.LoadKeys(o.State, now)
	if err != nil {
		return none, err
	}
	asClient, err := party(keys, &trust.Reference.Client, x509.ExtKeyUsageClientAuth, "client.test")
	if err != nil {
		return none, err
	}
	asServer, err := party(keys, &trust.Reference.Server, x509.ExtKeyUsageServerAuth, host)
	if err != nil {
		return none, err
	}
	policy := trust.Reference.Server.Policy(state.ReferenceFile+" server", trust.Evidence)
	policy.Lifetime = clientLifetime
	verify, err := verifier.New(policy, simulated.Extractor{})
	if err != nil {
		return none, err
	}
	return attacktest.Target{
		Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
		ServerName: host,
		Client: attacktest.ClientOf(&expat.Config{
			TLS:      &tls.Config{RootCAs: trust.Roots(), ServerName: host, Certificates: []tls.Certificate{asClient.Identity}},
			Attester: asClient.Attester, Verifier: verify, Reattest: true,
		}),
		AsClient: asClient, AsServer: asServer,
	}, nil
}

// party is a side as the reference values describe it.
func party(keys *state.Keys, e *state.Environment, usage x509.ExtKeyUsage, name string) (*attacktest.Party, error) {
	return simparty.New(simparty.Options{
		Vendor: keys.Vendor,
		Device: func(v *simulated.Vendor, instance []byte) (*simulated.Device, error) {
			other := *e
			if instance != nil {
				other.Instance = instance
			}
			return other.Device(v)
		},
		Issue: func(key crypto.Signer) (tls.Certificate, error) {
			return keys.CA.Leaf(key, usage, time.Now(), name)
		},
	})
}
