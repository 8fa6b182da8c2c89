package expat

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/wire"
)

type appraise = func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error)
type attest = func(context.Context, attestation.Binding) (*cmw.Message, error)

func withTier(tier attestation.Tier, accept bool) appraise {
	return func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		return attestation.NewResult(b, attestation.ResultOptions{
			Verifier: "toy", Lifetime: attestation.ConnectionLifetime, AcceptWarning: accept,
			Appraisals: []attestation.Appraisal{{Environment: "toy", Status: tier}},
		})
	}
}

func failing(err error) appraise {
	return func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { return nil, err }
}

func hang(ctx context.Context, _ attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// elsewhereError is what a Verifier returns that uses this package itself.
func elsewhereError() error {
	return fmt.Errorf("asking the service: %w", &Error{Stage: StageTLS, Alert: AlertTimeout, Side: Peer, Err: ErrClosed})
}

// B-18, B-20, H-5: whatever is no acceptable result refuses the peer, on both ends.
func TestVerifierTrouble(t *testing.T) {
	t.Parallel()
	var old attestation.Binding
	w := newWorld(t)
	cc, sc := w.configs(serverAttests)
	cc.Verifier = &toy{appraise: func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		old = b
		return toyResult(b, 0)
	}}
	_, _, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))

	plain := errors.New("out of order")
	for name, c := range map[string]struct {
		appraise appraise
		alert    Alert
		reason   error
	}{
		"error": {failing(plain), AlertVerifierUnavailable, plain},
		"hangs": {hang, AlertVerifierUnavailable, context.DeadlineExceeded},
		"ignores its context": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			time.Sleep(300 * time.Millisecond)
			return nil, plain
		}, AlertVerifierUnavailable, context.DeadlineExceeded},
		"neither result nor no": {failing(nil), AlertVerifierUnavailable, attestation.ErrUnavailable},
		"panics": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			panic("evidence")
		}, AlertVerifierUnavailable, attestation.ErrUnavailable},
		"another binding": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return toyResult(old, 0)
		}, AlertInternal, attestation.ErrWrongResult},
		"rejects":                 {failing(attestation.Reject(plain)), AlertAttestationRejected, plain},
		"rejects after a timeout": {failing(attestation.Reject(context.DeadlineExceeded)), AlertAttestationRejected, attestation.ErrRejected},
		"malformed":               {failing(attestation.ErrMalformed), AlertMalformed, attestation.ErrMalformed},
		"warning tier":            {withTier(attestation.TierWarning, false), AlertAttestationRejected, attestation.ErrRejected},
		"contraindicated tier":    {withTier(attestation.TierContraindicated, true), AlertAttestationRejected, attestation.ErrRejected},
		"no tier":                 {withTier(attestation.TierNone, true), AlertAttestationRejected, attestation.ErrRejected},
		"an error of this type":   {failing(elsewhereError()), AlertVerifierUnavailable, attestation.ErrUnavailable},
	} {
		for _, direction := range []string{serverAttests, clientAttests} {
			t.Run(name+" "+direction, func(t *testing.T) {
				t.Parallel()
				cc, sc := w.configs(direction)
				rp := cc
				if direction == clientAttests {
					rp = sc
				}
				rp.Verifier, rp.VerifierTimeout = &toy{appraise: c.appraise}, 50*time.Millisecond
				r, a, err, other := connect(t, cc, sc)
				if direction == clientAttests {
					r, a, err, other = a, r, other, err
				}
				requireFailure(t, err, StageAppraise, c.alert, Local, c.reason)
				requireFailure(t, other, StageResult, c.alert, Peer, ErrPeerAlert)
				require.NotContains(t, err.Error(), "evidence", "F-3")
				requireDead(t, r)
				requireDead(t, a)
			})
		}
	}
}

func TestWarningAccepted(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(serverAttests)
	cc.Verifier = &toy{appraise: withTier(attestation.TierWarning, true)}
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, attestation.TierWarning, c.Peer().Tier())
	echo(t, s, c, "hello")
}

// brokenKey is a key in a device that does not answer as it should.
type brokenKey struct {
	*ecdsa.PrivateKey
	err error
}

func (k brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, k.err }

func TestAttesterTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := errors.New("no device")
	other := func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
		return toyEvidence(b, "application/vnd.expat-go.other")
	}
	attester := func(a attest) func(*Config) { return func(c *Config) { c.Attester = &toy{attest: a} } }
	fails := func(err error) attest {
		return func(context.Context, attestation.Binding) (*cmw.Message, error) { return nil, err }
	}
	hangs := func(ctx context.Context, _ attestation.Binding) (*cmw.Message, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	device := func(err error) func(*Config) {
		return func(c *Config) {
			id := w.server
			id.PrivateKey = brokenKey{id.PrivateKey.(*ecdsa.PrivateKey), err}
			c.Identities = []tls.Certificate{id}
		}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		stage  Stage
		alert  Alert
		reason error
	}{
		"error":                 {attester(fails(plain)), StageAttest, AlertInternal, plain},
		"an error of this type": {attester(fails(elsewhereError())), StageAttest, AlertInternal, attestation.ErrAttester},
		"no message":            {attester(fails(nil)), StageAttest, AlertInternal, attestation.ErrAttester},
		"panics":                {attester(func(context.Context, attestation.Binding) (*cmw.Message, error) { panic("evidence") }), StageAttest, AlertInternal, attestation.ErrAttester},
		"hangs":                 {func(c *Config) { attester(hangs)(c); c.Timeout = 500 * time.Millisecond }, StageAttest, AlertTimeout, context.DeadlineExceeded},
		"key does not sign":     {device(plain), StageAuthenticate, AlertInternal, authenticator.ErrSigner},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cc, sc := w.configs(serverAttests)
			c.change(sc)
			client, s, err1, err2 := connect(t, cc, sc)
			requireFailure(t, err2, c.stage, c.alert, Local, c.reason)
			requireFailure(t, err1, StageValidate, c.alert, Peer, ErrPeerAlert)
			require.NotContains(t, err2.Error(), "evidence", "F-3")
			requireDead(t, client)
			requireDead(t, s)
		})
	}
	// A format that the peer does not take is refused, not trouble.
	cc, sc := w.configs(serverAttests)
	sc.Attester = &toy{attest: other}
	c, s, err1, err2 := connect(t, cc, sc)
	requireFailure(t, err1, StageValidate, AlertRefused, Local, authenticator.ErrRefused)
	requireFailure(t, err2, StageResult, AlertRefused, Peer, attestation.ErrMediaType)
	requireDead(t, c)
	requireDead(t, s)
}

// A Verifier without formats, and a Nonce that fails: found before anything is
// asked, and not blamed on the peer.
func TestOwnTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := errors.New("no nonce")
	for name, c := range map[string]struct {
		change func(*Config)
		stage  Stage
		alert  Alert
		reason error
	}{
		"no media types": {func(c *Config) { c.Verifier = &toy{types: []string{}} }, StageHello, AlertInternal, ErrConfig},
		"no nonce":       {func(c *Config) { c.Nonce = func(context.Context) ([]byte, error) { return nil, plain } }, StageRequest, AlertInternal, plain},
		"nonce too long": {func(c *Config) {
			c.Nonce = func(context.Context) ([]byte, error) { return make([]byte, authenticator.MaxNonce+1), nil }
		}, StageRequest, AlertLimit, authenticator.ErrLimit},
	} {
		cc, sc := w.configs(serverAttests)
		c.change(cc)
		client, s, err1, err2 := connect(t, cc, sc)
		requireFailure(t, err1, c.stage, c.alert, Local, c.reason)
		requireFailure(t, err2, StageHello, c.alert, Peer, ErrPeerAlert)
		require.NotNil(t, client, name)
		requireDead(t, client)
		requireDead(t, s)
	}
}

// C-6: a Verifier's nonce is the end of the context, after 32 random bytes.
func TestNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, size := range []int{1, 32, authenticator.MaxNonce} {
		nonce := bytes.Repeat([]byte{0x5a}, size)
		var contexts [][]byte
		cc, sc := w.configs(serverAttests)
		cc.Nonce = func(context.Context) ([]byte, error) { return nonce, nil }
		sc.Attester = &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
			contexts = append(contexts, b.Context())
			return toyEvidence(b, toyMediaType)
		}}
		for range 2 {
			c, _, err1, err2 := connect(t, cc, sc)
			require.NoError(t, errors.Join(err1, err2))
			require.True(t, bytes.HasSuffix(c.Peer().Binding().Context(), nonce))
		}
		require.Len(t, contexts, 2)
		require.Len(t, contexts[0], 32+size)
		require.NotEqual(t, contexts[0][:32], contexts[1][:32])
	}
}

// F-1: with ClientFirst the server's Attester runs after the client was accepted,
// and a client that is refused, or shows nothing, never sees Evidence.
func TestClientFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var judged, shown atomic.Int32
	server := func(verdict error) func(*Config) {
		judged.Store(0)
		shown.Store(0)
		return func(c *Config) {
			c.ClientFirst = true
			c.Verifier = &toy{appraise: func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
				if verdict != nil {
					return nil, verdict
				}
				judged.Add(1)
				return toyResult(b, 0)
			}}
			c.Attester = &toy{attest: func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
				shown.Add(1)
				if judged.Load() != 1 {
					return nil, errors.New("asked before the client's verdict")
				}
				return toyEvidence(b, toyMediaType)
			}}
		}
	}
	cc, sc := w.configs(mutual)
	server(nil)(sc)
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	echo(t, c, s, "hello")
	require.Equal(t, int32(1), shown.Load())

	cc, sc = w.configs(mutual)
	server(attestation.Reject(errors.New("no")))(sc)
	c, s, err1, err2 = connect(t, cc, sc)
	requireFailure(t, err2, StageAppraise, AlertAttestationRejected, Local, attestation.ErrRejected)
	requireFailure(t, err1, StageResult, AlertAttestationRejected, Peer, ErrPeerAlert)
	requireDead(t, c)
	requireDead(t, s)
	require.Zero(t, shown.Load())

	// The order holds whichever of its frames the client sends first.
	r := w.meet(t, authenticator.Server, mutual, server(nil))
	r.sendHello(both)
	r.receive()
	r.send(wire.Request, r.ask())
	r.send(wire.Authenticator, r.answer(&toy{}))
	r.read(wire.Result)
	r.read(wire.Authenticator)
	require.Equal(t, int32(1), shown.Load())
	r.sendResult(wire.ResultMap{})
	r.requireEcho()

	r = w.meet(t, authenticator.Server, mutual, server(nil))
	r.sendHello(both)
	r.receive()
	r.send(wire.Request, r.ask())
	require.NoError(t, r.tls.CloseWrite())
	r.requireVictim(nothing, StageValidate, AlertProtocol, Local, ErrClosed)
	require.Zero(t, shown.Load())
}

// A Nonce or CheckRevocation that ignores its context holds nobody past the
// deadline.
func TestCallbacksAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, c := range map[string]struct {
		change func(*Config)
		stage  Stage
		alert  Alert
	}{
		"nonce": {func(c *Config) {
			c.Nonce = func(context.Context) ([]byte, error) { <-release; return nil, nil }
		}, StageRequest, AlertTimeout},
		"revocation": {func(c *Config) {
			c.CheckRevocation = func(context.Context, authenticator.Chain) error { <-release; return nil }
		}, StageValidate, AlertCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			cc, sc := w.configs(serverAttests)
			cc.Timeout = 300 * time.Millisecond
			c.change(cc)
			client, s, err1, err2 := connect(t, cc, sc)
			requireFailure(t, err1, c.stage, c.alert, Local, context.DeadlineExceeded)
			var e *Error
			require.ErrorAs(t, err2, &e)
			requireDead(t, client)
			requireDead(t, s)
		})
	}
}
