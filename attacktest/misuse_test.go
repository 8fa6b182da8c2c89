package attacktest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attestation"
)

func TestUnusableTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dial := func(context.Context) (net.Conn, error) { return nil, errors.New("not reached") }
	other := *w.clients
	other.Identity.PrivateKey = w.server.cert.PrivateKey
	for name, c := range map[string]struct {
		change func(*attacktest.Target, *attacktest.Options)
		text   string
	}{
		"no Dial":            {func(t *attacktest.Target, _ *attacktest.Options) { t.Dial = nil }, "set Dial"},
		"no AsClient":        {func(t *attacktest.Target, _ *attacktest.Options) { t.AsClient = nil }, "set AsClient"},
		"no AsServer":        {func(t *attacktest.Target, _ *attacktest.Options) { t.AsServer = nil }, "Client needs AsServer"},
		"no Attester":        {func(t *attacktest.Target, _ *attacktest.Options) { t.AsServer = &attacktest.Party{} }, "Client needs AsServer"},
		"another's key":      {func(t *attacktest.Target, _ *attacktest.Options) { t.AsClient = &other }, "AsClient.Identity"},
		"negative Patience":  {func(_ *attacktest.Target, o *attacktest.Options) { o.Patience = -1 }, "negative time"},
		"negative Prompt":    {func(_ *attacktest.Target, o *attacktest.Options) { o.Prompt = -1 }, "negative time"},
		"negative Drip":      {func(_ *attacktest.Target, o *attacktest.Options) { o.Drip = -1 }, "negative time"},
		"negative Timeout":   {func(_ *attacktest.Target, o *attacktest.Options) { o.Timeout = -1 }, "negative time"},
		"negative Parallel":  {func(_ *attacktest.Target, o *attacktest.Options) { o.Parallel = -1 }, "0 to 16"},
		"too many at a time": {func(_ *attacktest.Target, o *attacktest.Options) { o.Parallel = attacktest.MaxParallel + 1 }, "0 to 16"},
		"no such attack":     {func(_ *attacktest.Target, o *attacktest.Options) { o.Only = []string{"diversion", "x"} }, `no attack "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, o := w.target(dial, func(context.Context, net.Conn) (net.Conn, error) { return nil, errors.New("not reached") }), attacktest.Options{}
			c.change(&target, &o)
			outcomes, err := attacktest.Run(t.Context(), target, o)
			require.ErrorIs(t, err, attacktest.ErrTarget)
			require.ErrorContains(t, err, c.text)
			require.Nil(t, outcomes)
		})
	}
}

// A victim that refuses honest peers proves nothing by refusing others.
func TestHonestFirst(t *testing.T) {
	t.Parallel()
	w, strange := newWorld(t), newWorld(t)
	client, server := w.configs(deadline)
	_, strangeServer := strange.configs(deadline)
	strangeClient, _ := strange.configs(deadline)
	good := serve(t, server)
	closed := listen(t, func(net.Conn) {})
	grumpy := listen(t, func(nc net.Conn) {
		c := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{w.server.cert}, NextProtos: []string{"expat/1"}})
		_, _ = c.Write([]byte("\x05\x00\x00\x02\x00\x0d")) // ALERT
	})
	oldLabel := w.target(good, nil)
	oldLabel.Profile = attestation.Expat03()
	gone := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	relies := attacktest.ClientOf(client)
	for name, c := range map[string]struct {
		target attacktest.Target
		text   string
	}{
		"nobody there":               {w.target(gone, relies), "by the endpoint: dial"},
		"the endpoint closes":        {w.target(closed, relies), "by the endpoint: TLS handshake"},
		"the endpoint refuses":       {w.target(grumpy, relies), "by the endpoint: waiting for HELLO: the victim sent ALERT protocol (13)"},
		"another revision":           {oldLabel, "by the endpoint: RESULT attestation rejected (7)"},
		"another endpoint":           {w.target(serve(t, strangeServer), relies), "by the endpoint: RESULT certificate (5)"},
		"another client":             {w.target(good, attacktest.ClientOf(strangeClient)), "by the client: "},
		"client that does not start": {w.target(good, func(context.Context, net.Conn) (net.Conn, error) { return nil, errors.New("no") }), "by the client: TLS handshake"},
		"no Attester":                {withoutAttester(w.target(good, nil)), "has no Attester for this side"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcomes, err := attacktest.Run(t.Context(), c.target, quick)
			require.ErrorIs(t, err, attacktest.ErrHonest)
			require.ErrorContains(t, err, c.text)
			require.Nil(t, outcomes)
		})
	}
}

func withoutAttester(t attacktest.Target) attacktest.Target {
	t.AsClient = &attacktest.Party{Identity: t.AsClient.Identity}
	return t
}

// I-17: an endpoint that an attack has taken down is found.
func TestStillServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, server := w.configs(deadline)
	good := serve(t, server)
	var dialled atomic.Int32
	dial := func(ctx context.Context) (net.Conn, error) {
		if dialled.Add(1) > 2 {
			return nil, net.ErrClosed
		}
		return good(ctx)
	}
	o := quick
	o.Only = []string{"diversion", "tampered Evidence"}
	o.Parallel = 1
	outcomes, err := attacktest.Run(t.Context(), w.target(dial, nil), o)
	require.ErrorIs(t, err, attacktest.ErrHonest)
	require.ErrorContains(t, err, "after the attacks: ")
	require.Equal(t, 1, attacktest.Count(outcomes, attacktest.Refused))
	require.Equal(t, 1, attacktest.Count(outcomes, attacktest.NotTried))
}

// The end of the context is no refusal.
func TestCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(20 * time.Second)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(time.Second, func() { cancel(enough) })
	o := attacktest.Options{Only: names(true)}
	start := time.Now()
	outcomes, err := attacktest.Run(ctx, w.target(serve(t, server), attacktest.ClientOf(client)), o)
	require.ErrorIs(t, err, enough)
	require.Less(t, time.Since(start), 8*time.Second)
	require.NotZero(t, attacktest.Count(outcomes, attacktest.NotTried))
	require.Zero(t, attacktest.Count(outcomes, attacktest.Accepted))
	for _, o := range outcomes {
		if o.Outcome == attacktest.NotTried {
			require.Equal(t, "the run was ended: enough", o.Note)
		}
	}
	o.Timeout = time.Second
	_, err = attacktest.Run(t.Context(), w.target(serve(t, server), nil), o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// recorder is a test that is being tested.
type recorder struct {
	ctx                 context.Context
	logs, errors, fatal []string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Context() context.Context  { return r.ctx }
func (r *recorder) Logf(f string, a ...any)   { r.logs = append(r.logs, fmt.Sprintf(f, a...)) }
func (r *recorder) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.fatal = append(r.fatal, fmt.Sprintf(f, a...)) }

func TestTest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := quick
	o.Only = []string{"diversion", "nobody asks", "tampered Evidence"}
	r := &recorder{ctx: t.Context()}
	attacktest.Test(r, laxTarget(t, w, 20*time.Second, false, noInstance), o)
	require.Len(t, r.errors, 2)
	require.True(t, strings.HasPrefix(r.errors[0], `diversion (I-7), endpoint as relying party: accepted at step "validate": the victim sent RESULT`), r.errors[0])
	require.Contains(t, r.errors[1], "client as relying party: accepted")
	require.Contains(t, r.errors[0], "must be refused by: the policy names the instance")
	require.Equal(t, []string{
		"nobody asks, endpoint as attester: not applicable: the victim asks, so somebody is attested",
		"nobody asks, client as attester: not applicable: the victim asks, so somebody is attested",
	}, r.logs)
	require.Empty(t, r.fatal)

	r = &recorder{ctx: t.Context()}
	attacktest.Test(r, laxTarget(t, w, 20*time.Second, false), o)
	require.Empty(t, append(r.errors, r.fatal...))

	r = &recorder{ctx: t.Context()}
	attacktest.Test(r, attacktest.Target{}, o)
	require.Equal(t, []string{"attacktest: target cannot be used: set Dial"}, r.fatal)
}

// What a Target leaves out makes attacks not applicable, with a reason.
func TestNotApplicable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(20 * time.Second)
	target := w.target(serve(t, server), attacktest.ClientOf(client))
	target.AsClient, target.AsServer, target.EndpointKey = w.client.party(), w.server.party(), nil
	o := quick
	o.Only = names(false)
	for _, alone := range []bool{false, true} {
		reasons := map[string]string{
			"key substitution": "no Other", "key outside the environment": "no Other", "key hash of another key": "no Misnamed",
			"diversion": "no Diverted", "reflected identity": "no Twin", "Evidence of nobody": "no Unknown", "unsigned envelope": "no Dressed",
			"terminating proxy": "AsServer has no Other", "relayed Evidence": "AsServer has no Other",
			"terminating proxy with the TLS key": "nobody has stolen it", "relayed Evidence with the TLS key": "nobody has stolen it",
			"nobody asks": "somebody is attested", "second request in a renewal": "does not offer to be asked anew",
			"context used before in a renewal": "does not offer to be asked anew", "application data after a refused renewal": "does not offer to be asked anew",
		}
		if alone {
			target.Client = nil
			for _, name := range []string{"terminating proxy", "relayed Evidence", "terminating proxy with the TLS key", "relayed Evidence with the TLS key", "relayed Evidence of a client"} {
				reasons[name] = "the Target has no Client"
			}
		}
		outcomes, err := attacktest.Run(t.Context(), target, o)
		require.NoError(t, err)
		for _, out := range outcomes {
			reason, missing := reasons[out.Name]
			isClient := out.Victim == attacktest.Client || out.Victim == attacktest.ClientAttester || out.Victim == attacktest.ClientRelying
			switch {
			case alone && isClient:
				require.Equal(t, "the Target has no Client", out.Note)
			case missing:
				require.Equal(t, attacktest.NotApplicable, out.Outcome, "%+v", out)
				require.Contains(t, out.Note, reason)
			default:
				require.Equal(t, attacktest.Refused, out.Outcome, "%+v", out)
			}
		}
	}

	// Foreign is asked for once there is a key to attest.
	target.AsClient.Other = &w.server.cert
	o.Only = []string{"key outside the environment"}
	outcomes, err := attacktest.Run(t.Context(), target, o)
	require.NoError(t, err)
	require.Contains(t, outcomes[0].Note, "no Foreign")
}

// A client that does not come back is not taken for one that refused.
func TestClientHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(20 * time.Second)
	var hang atomic.Bool
	relies := attacktest.ClientOf(client)
	release := make(chan struct{})
	defer close(release)
	target := w.target(serve(t, server), func(ctx context.Context, nc net.Conn) (net.Conn, error) {
		c, err := relies(ctx, nc)
		if hang.Swap(true) && err != nil {
			select {
			case <-release:
			case <-time.After(1500 * time.Millisecond):
			}
		}
		return c, err
	})
	o := attacktest.Options{Only: []string{"tampered Evidence"}, Patience: time.Second}
	outcomes, err := attacktest.Run(t.Context(), target, o)
	require.NoError(t, err)
	require.Equal(t, attacktest.Accepted, outcomes[1].Outcome)
	require.Equal(t, "the client does not come back though the connection is closed", outcomes[1].Note)
}

func TestWriteTable(t *testing.T) {
	t.Parallel()
	a := attacktest.Attack{Name: "diversion", Requirement: "I-7", Victim: attacktest.EndpointRelying}
	var b bytes.Buffer
	require.NoError(t, attacktest.WriteTable(&b, []attacktest.Outcome{
		{Attack: a, Outcome: attacktest.Refused, Step: "appraise", Alert: "attestation rejected (7)", Took: 12345 * time.Microsecond},
		{Attack: a, Outcome: attacktest.Accepted, Step: "validate", Note: "it is open", Took: time.Second},
		{Attack: a, Outcome: attacktest.NotApplicable, Note: "no Diverted"},
	}))
	require.Equal(t, strings.TrimPrefix(`
ATTACK     ROW  VICTIM                     OUTCOME         STEP      TIME  ALERT
diversion  I-7  endpoint as relying party  refused         appraise  12ms  attestation rejected (7)
diversion  I-7  endpoint as relying party  accepted        validate  1s    -
    it is open
diversion  I-7  endpoint as relying party  not applicable  -         0s    -
    no Diverted
3 attacks: 1 refused, 1 accepted, 0 not tried, 1 not applicable
`, "\n"), b.String())
	require.ErrorIs(t, attacktest.WriteTable(brokenWriter{}, nil), net.ErrClosed)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, net.ErrClosed }

// An endpoint with an application protocol is reached under its name.
func TestProtocol(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, server := w.configs(20 * time.Second)
	client.TLS.NextProtos, server.TLS.NextProtos = []string{"echo"}, []string{"echo"}
	target := w.target(serve(t, server), attacktest.ClientOf(client))
	target.Protocol = "echo"
	target.MediaTypes = []string{"application/vnd.expat-go.unknown"}
	o := quick
	o.Only = []string{"no ALPN", "other ALPN", "TLS 1.2 without extended master secret", "relayed Evidence", "unknown format"}
	outcomes, err := attacktest.Run(t.Context(), target, o)
	require.NoError(t, err)
	require.Equal(t, len(outcomes), attacktest.Count(outcomes, attacktest.Refused))
	target.Protocol = "other"
	_, err = attacktest.Run(t.Context(), target, o)
	require.ErrorIs(t, err, attacktest.ErrHonest)
}
