package attacktest_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/authenticator"
)

// laxTarget is a lax endpoint and a lax client.
func laxTarget(t testing.TB, w *world, deadline time.Duration, alone bool, flaws ...flaw) attacktest.Target {
	l := lax{world: w, flaws: map[flaw]bool{}, deadline: deadline, alone: alone}
	for _, f := range flaws {
		l.flaws[f] = true
	}
	server, client := l, l
	server.role, server.side = authenticator.Server, w.server
	client.role, client.side = authenticator.Client, w.client
	return w.target(listen(t, server.serves), client.relies)
}

// names are those of all attacks, slow or not.
func names(slow bool) []string {
	var out []string
	for _, a := range attacktest.Attacks() {
		if a.Slow == slow && !slices.Contains(out, a.Name) {
			out = append(out, a.Name)
		}
	}
	return out
}

// flawed is a victim that leaves checks out, and the attacks that find it.
type flawed struct {
	flaws  []flaw
	caught []string
}

func (f flawed) String() string {
	var s []string
	for _, f := range f.flaws {
		s = append(s, string(f))
	}
	return strings.Join(s, ", ")
}

func one(f flaw, caught ...string) flawed { return flawed{[]flaw{f}, caught} }

// quickly are flaws that show at once.
var quickly = []flawed{
	{},
	one(noALPN, "no ALPN", "other ALPN"),
	one(noRequirement, "cannot attest"),
	one(emptySuccess, "empty authenticator"),
	one(noEvidence, "missing extension"),
	one(anyFormat, "unknown format"),
	one(anyVerdict, "verdict of his own"),
	one(earlyData, "application data for a verdict", "application data for proof", "early application data", "unknown frame"),
	one(anyFrame, "application data for a verdict", "application data for proof", "early application data", "unknown frame"),
	one(anyCode, "application data after a refusal", "application data after a refused renewal"),
	one(noRequestOrder, "request twice", "second request in a renewal"),
	one(noContextSet, "context reuse across request types", "context used before in a renewal"),
	one(noDirection, "request of the wrong direction"),
	one(anyContext, "context without entropy"),
	one(unasked, "Evidence without an offer"),
	one(anyLength, "long HELLO", "long authenticator", "long request"),
	one(anyHello, "HELLO of four billion items", "HELLO that contradicts itself", "deep HELLO"),
	one(deepHello, "deep HELLO"),
	one(lastKey, "HELLO that contradicts itself"),
	one(noContext), // the request in the transcript says the same
	one(noSignature, "certificate without its key"),
	one(noFinished, "forged Finished"),
	one(noRole, "authenticator of the other role"),
	one(noX509, "certificate of nobody"),
	one(noOwnKey, "reflected identity"),
	{[]flaw{noSignature, noFinished}, []string{"authenticator of another connection", "authenticator of the other role", "certificate without its key", "forged Finished"}},
	{[]flaw{noSignature, noFinished, noContext}, []string{"authenticator of another connection", "authenticator of the other role", "certificate without its key", "forged Finished", "replayed authenticator"}},
	{[]flaw{noSignature, noFinished, noContextSet, noOwnKey}, []string{"authenticator of another connection", "authenticator of the other role", "certificate without its key", "context reuse across request types", "context used before in a renewal", "forged Finished", "reflected identity", "reflection"}},
	{[]flaw{noSignature, noFinished, noBinder}, []string{"Evidence of another connection", "authenticator of another connection", "authenticator of the other role", "certificate without its key", "forged Finished", "relayed Evidence with the TLS key", "replayed Evidence", "terminating proxy", "terminating proxy with the TLS key"}},
	one(noBinder, "Evidence of another connection", "relayed Evidence with the TLS key", "replayed Evidence"),
	one(noKeyHash, "key hash of another key"),
	{[]flaw{noBinder, noKeyHash}, []string{"Evidence of another connection", "key hash of another key", "key substitution", "relayed Evidence", "relayed Evidence of a client", "relayed Evidence with the TLS key", "replayed Evidence"}},
	one(noProvenance, "key outside the environment"),
	one(noInstance, "diversion"),
	one(noChain, "Evidence of nobody"),
	one(noEvidenceSig, "tampered Evidence"),
	one(envelope, "unsigned envelope"),
	one(collection, "unsigned collection"),
	one(noLimits, "attestation of many leaves", "deep attestation", "very deep attestation"),
	one(oldTLS, "TLS 1.2", "TLS 1.2 without extended master secret"),
	one(tickets, "session ticket"),
	one(resumes, "resumption", "session ticket"),
	one(demanding),
	{[]flaw{demanding, earlyData}, []string{"application data for a verdict", "application data for proof", "early application data", "unknown frame"}},
	{[]flaw{demanding, anyCode}, []string{"application data after a refusal", "application data after a refused renewal"}},
	{[]flaw{demanding, noRequestOrder}, []string{"request twice", "second request in a renewal"}},
}

// slowly are flaws that only time shows.
var slowly = []flawed{
	{},
	one(noTimeout, "silent", "silent after HELLO", "silent after TLS", "silent after the proof", "slow HELLO", "slow TLS handshake"),
	one(noTLSTimeout, "silent", "slow TLS handshake"),
	one(noOverallTimeout, "slow HELLO", "slow TLS handshake"),
	one(noExpiry, "state drift, our verdict"),
	one(noLifetime, "state drift, its verdict"),
	one(noBinder, "old Evidence in a renewal"),
	{[]flaw{noSignature, noFinished, noContext, noBinder}, []string{"old Evidence in a renewal", "old authenticator in a renewal"}},
}

// Each attack finds the endpoint and the client that leave out the check against
// it, and none is wrongly blamed: what else finds them rests on the same check.
//
// It is not run beside other tests: it is the clock that tells a victim that
// stays silent from one that refuses.
func TestFlaws(t *testing.T) {
	found := map[string]bool{}
	for _, f := range slices.Concat(quickly, slowly, attestersOnly) {
		for _, name := range f.caught {
			found[name] = true
		}
	}
	require.ElementsMatch(t, slices.Concat(names(false), names(true)), slices.Collect(maps.Keys(found)), "an attack that finds no flaw")
	quick := attacktest.Options{Only: names(false), Patience: 12 * time.Second, Prompt: 5 * time.Second, Parallel: 8}
	slow := attacktest.Options{Only: names(true), Patience: 14 * time.Second, Prompt: 3 * time.Second, Drip: 100 * time.Millisecond}
	for _, c := range []struct {
		victims  string
		flawed   []flawed
		deadline time.Duration
		alone    bool
		options  attacktest.Options
	}{
		{"both sides ask and attest", quickly, 30 * time.Second, false, quick},
		{"time passes", slowly, deadline, false, slow},
		{"victims do not ask", attestersOnly, 30 * time.Second, true, quick},
	} {
		t.Run(c.victims, func(t *testing.T) {
			w := newWorld(t)
			results := make([]result, len(c.flawed))
			places := make(chan struct{}, 6) // they wait more than they work
			var wg sync.WaitGroup
			for i, f := range c.flawed {
				wg.Go(func() {
					places <- struct{}{}
					defer func() { <-places }()
					results[i].outcomes, results[i].err = attacktest.Run(t.Context(), laxTarget(t, w, c.deadline, c.alone, f.flaws...), c.options)
				})
			}
			wg.Wait()
			for i, f := range c.flawed {
				t.Run(f.String(), func(t *testing.T) { f.check(t, results[i]) })
			}
		})
	}
}

type result struct {
	outcomes []attacktest.Outcome
	err      error
}

// attestersOnly are flaws of victims that do not ask.
var attestersOnly = []flawed{
	{},
	one(nobodyAsks, "nobody asks"),
	one(noALPN, "no ALPN", "other ALPN"),
	one(unasked, "Evidence without an offer"),
	one(lastKey, "HELLO that contradicts itself"),
	one(deepHello, "deep HELLO"),
	one(anyHello, "HELLO of four billion items", "HELLO that contradicts itself", "deep HELLO"),
}

// check demands that exactly the attacks named were accepted, by every victim.
func (f flawed) check(t *testing.T, r result) {
	require.NoError(t, r.err)
	accepted := map[string]bool{}
	for _, out := range r.outcomes {
		require.NotEqual(t, attacktest.NotTried, out.Outcome, "%+v", out)
		if out.Outcome == attacktest.Accepted {
			accepted[out.Name] = true
		}
	}
	require.ElementsMatch(t, f.caught, slices.Collect(maps.Keys(accepted)))
	for _, out := range r.outcomes {
		require.False(t, accepted[out.Name] && out.Outcome == attacktest.Refused, "%+v", out)
	}
}
