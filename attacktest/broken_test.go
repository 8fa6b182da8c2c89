package attacktest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// breaking is a connection that ends after so many reads.
type breaking struct {
	net.Conn
	left atomic.Int32
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left.Add(-1) < 0 {
		_ = b.Close()
		return 0, net.ErrClosed
	}
	return b.Conn.Read(p)
}

// breakage says which connections break after the honest ones, and when.
type breakage struct {
	reads            int32 // -1: there is no connection at all
	endpoint, client bool
}

func (b breakage) apply(on bool, count *atomic.Int32, nc net.Conn) (net.Conn, error) {
	if count.Add(1) == 1 || !on {
		return nc, nil
	}
	if b.reads < 0 {
		_ = nc.Close()
		return nil, net.ErrClosed
	}
	c := &breaking{Conn: nc}
	c.left.Store(b.reads)
	return c, nil
}

// A connection that breaks, wherever it does, is never taken for an acceptance.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(20 * time.Second)
	good, relies := serve(t, server), attacktest.ClientOf(client)
	var all []breakage
	for reads := int32(-1); reads < 11; reads++ {
		all = append(all, breakage{reads, true, true})
		if reads < 6 {
			all = append(all, breakage{reads, true, false}, breakage{reads, false, true})
		}
	}
	for _, b := range all {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			t.Parallel()
			var dialled, ran atomic.Int32
			dial := func(ctx context.Context) (net.Conn, error) {
				nc, err := good(ctx)
				if err != nil {
					return nil, err
				}
				return b.apply(b.endpoint, &dialled, nc)
			}
			run := func(ctx context.Context, nc net.Conn) (net.Conn, error) {
				nc, err := b.apply(b.client, &ran, nc)
				if err != nil {
					return nil, err
				}
				return relies(ctx, nc)
			}
			o := attacktest.Options{Only: names(false), Patience: 12 * time.Second, Prompt: 5 * time.Second, Parallel: attacktest.MaxParallel}
			if b.reads < 0 && b.endpoint && b.client {
				o.Only = nil // where nothing is waited for
			}
			outcomes, err := attacktest.Run(t.Context(), w.target(dial, run), o)
			for _, out := range outcomes {
				require.NotEqual(t, attacktest.Accepted, out.Outcome, "%+v", out)
			}
			if b.reads < 2 {
				require.ErrorIs(t, err, attacktest.ErrHonest)
			}
		})
	}
}

// failing is an Attester that answers so many times, and then fails.
type failing struct {
	attestation.Attester
	left atomic.Int32
}

var errDevice = errors.New("the device is gone")

func (f *failing) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if f.left.Add(-1) < 0 {
		return nil, errDevice
	}
	return f.Attester.Attest(ctx, b, accept)
}

// An attacker whose own environment fails has not tried.
func TestAttackersDeviceFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(20 * time.Second)
	target := w.target(serve(t, server), attacktest.ClientOf(client))
	asClient, asServer := *target.AsClient, *target.AsServer
	target.AsClient, target.AsServer = &asClient, &asServer
	for _, p := range []*attacktest.Party{&asClient, &asServer} {
		f := &failing{Attester: p.Attester}
		f.left.Store(1)
		p.Attester = f
		dead := &failing{Attester: p.Attester}
		p.Foreign, p.Misnamed = dead, dead
		p.Diverted = &attacktest.Party{Identity: p.Diverted.Identity, Attester: dead}
		p.Dressed = func(context.Context, attestation.Binding, attestation.Binding) (*cmw.Message, error) {
			return nil, errDevice
		}
	}
	o := quick
	o.Only = names(false)
	outcomes, err := attacktest.Run(t.Context(), target, o)
	require.ErrorIs(t, err, attacktest.ErrHonest)
	require.ErrorIs(t, err, errDevice)
	tried := map[string]attacktest.Result{}
	for _, out := range outcomes {
		require.NotEqual(t, attacktest.Accepted, out.Outcome, "%+v", out)
		if out.Outcome == attacktest.NotTried {
			require.Contains(t, out.Note, errDevice.Error())
		}
		tried[out.Name] = out.Outcome
	}
	for _, name := range []string{"replayed Evidence", "diversion", "unsigned envelope", "deep attestation", "request twice", "forged Finished"} {
		require.Equal(t, attacktest.NotTried, tried[name], name)
	}
	for _, name := range []string{"empty authenticator", "missing extension", "no ALPN", "terminating proxy"} {
		require.Equal(t, attacktest.Refused, tried[name], name)
	}
}
