package expat

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/simulated"
)

// turning is an Attester that becomes another one.
type turning struct {
	now atomic.Pointer[attestation.Attester]
}

func (a *turning) to(b attestation.Attester) { a.now.Store(&b) }

func (a *turning) MediaTypes() []string { return (*a.now.Load()).MediaTypes() }

func (a *turning) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	return (*a.now.Load()).Attest(ctx, b, accept)
}

// I-9: a device that turns bad on an open connection. Both sides say so, and not
// a byte passes after it.
func TestDriftIsNoticed(t *testing.T) {
	t.Parallel()
	for _, lie := range []simulated.Lie{simulated.DebugOn, simulated.OldFirmware, simulated.ModifiedSoftware, simulated.WrongNonce} {
		w := newWorld(t)
		cc, sc, device := simulateDevice(t, w)
		renewing(cc)
		renewing(sc)
		honest := sc.Attester
		a := new(turning)
		a.to(honest)
		sc.Attester = a
		var before int
		var after []error
		cc.BeforeReattest = func(*Conn) { before++ }
		cc.AfterReattest = func(_ *Conn, r *attestation.Result, err error) {
			if (r == nil) == (err == nil) {
				t.Error("a Result or an error")
			}
			after = append(after, err)
		}
		c, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
		_, err := c.Reattest(t.Context())
		require.NoError(t, err)
		echo(t, c, s, "good so far")

		a.to(simulated.NewAttester(device, lie))
		_, err = s.Write([]byte("sent in time, but not read"))
		require.NoError(t, err)
		_, err = c.Reattest(t.Context())
		requireFailure(t, err, StageAppraise, AlertAttestationRejected, Local, ErrReattest)
		require.ErrorIs(t, err, attestation.ErrRejected)
		require.Equal(t, 2, before)
		require.Equal(t, []error{nil, err}, after)
		n, e := c.Read(make([]byte, 1))
		require.Zero(t, n)
		require.Equal(t, err, e)
		n, e = s.Read(make([]byte, 1))
		require.Zero(t, n)
		requireFailure(t, e, StageResult, AlertAttestationRejected, Peer, ErrReattest)
		n, e = s.Write(make([]byte, 1))
		require.Zero(t, n)
		requireFailure(t, e, StageResult, AlertAttestationRejected, Peer, ErrReattest)
		require.NotNil(t, c.Peer(), "what it was remains known")
	}
}

// What the attester cannot do is told as in the first exchange.
func TestReattestRefused(t *testing.T) {
	t.Parallel()
	for _, d := range []struct {
		attest error
		stage  Stage
		alert  Alert
		side   Side
		theirs Side
	}{
		{attestation.ErrMediaType, StageValidate, AlertRefused, Local, Peer},
		{errors.New("the platform is gone"), StageValidate, AlertInternal, Peer, Local},
	} {
		a := new(turning)
		a.to(&toy{})
		c, s := openMux(t, serverAttests, func(_, sc *Config) { sc.Attester = a })
		a.to(&toy{attest: func(context.Context, attestation.Binding) (*cmw.Message, error) { return nil, d.attest }})
		_, err := c.Reattest(t.Context())
		requireFailure(t, err, d.stage, d.alert, d.side, ErrReattest)
		_, err = s.Read(make([]byte, 1))
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, [2]any{d.alert, d.theirs}, [2]any{e.Alert, e.Side})
		require.ErrorIs(t, err, ErrReattest)
		require.ErrorIs(t, err, d.attest)
	}
}

// A certificate may be renewed while a connection is open, its key may not change
// unless that is allowed, and the name is proved each time.
func TestCertificateRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.server.PrivateKey.(*ecdsa.PrivateKey)
	make := func(key *ecdsa.PrivateKey, at time.Time, name string) tls.Certificate {
		cert, err := w.ca.Leaf(key, at, name)
		require.NoError(t, err)
		return cert
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	renewed := make(key, time.Now(), serverName)
	for name, c := range map[string]struct {
		next  tls.Certificate
		allow bool
		want  error
	}{
		"same key":              {renewed, false, nil},
		"other key":             {make(other, time.Now(), serverName), false, ErrKeyChanged},
		"other key, allowed":    {make(other, time.Now(), serverName), true, nil},
		"same key, other name":  {make(key, time.Now(), "other.test"), true, authenticator.ErrRefused}, // the attester has nothing for our name
		"same key, has expired": {make(key, time.Now().Add(-1000*24*time.Hour), serverName), false, authenticator.ErrCertificate},
	} {
		var now atomic.Pointer[tls.Certificate]
		now.Store(&w.server)
		cc, sc := w.configs(serverAttests)
		renewing(cc)
		renewing(sc)
		cc.AllowKeyChange = c.allow
		sc.GetIdentities = func(context.Context) ([]tls.Certificate, error) { return []tls.Certificate{*now.Load()}, nil }
		client, s, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2), name)
		now.Store(&c.next)
		_, err := client.Reattest(t.Context())
		if c.want != nil {
			requireFailure(t, err, StageValidate, alertOf(StageValidate, c.want), Local, ErrReattest)
			require.ErrorIs(t, err, c.want, name)
			_, err = s.Read([]byte{0})
			requireFailure(t, err, StageResult, alertOf(StageValidate, c.want), Peer, ErrReattest)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.next.Leaf.Raw, client.PeerCertificates()[0].Raw, name)
		echo(t, client, s, "hello")
		require.NoError(t, client.Close())
		require.NoError(t, s.Close())
	}
}
