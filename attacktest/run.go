package attacktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/expat-go/expat"
)

// attack is an Attack and how to carry it out.
type attack struct {
	Attack
	// mutual attacks need a victim that both asks and attests.
	mutual bool
	// try attacks. Its error means that the attack could not be carried out;
	// [inapplicable] that it makes no sense here.
	try func(ctx context.Context, s *scene) (verdict, error)
}

// inapplicable is why an attack cannot be made on a Target.
type inapplicable string

func (i inapplicable) Error() string { return string(i) }

// facts are what honest connections showed of a victim.
type facts struct {
	asks, attests bool
	offers        bool          // to be asked anew
	demands       bool          // to be able to ask anew
	lifetime      time.Duration // of its verdict on us; 0: as long as the connection
}

// scene is one attack under way. It is used by one goroutine.
type scene struct {
	facts            // of the victim
	endpoint, client facts
	target           *Target
	options          Options
	victim           Victim
	cleanups         []func()
}

func (s *scene) cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

func (s *scene) close() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}

// Attacks describes all attacks, in the order in which [Run] reports them.
func Attacks() []Attack {
	var out []Attack
	for _, a := range suite() {
		out = append(out, a.Attack)
	}
	return out
}

// Run attacks a Target and returns what came of each attack, in the order of
// [Attacks]. The error is for what keeps the run from meaning anything: a Target
// that cannot be used ([ErrTarget]), a victim that refuses honest peers
// ([ErrHonest]), or the end of ctx.
func Run(ctx context.Context, t Target, o Options) ([]Outcome, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	attacks, err := chosen(o.Only)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	r := &run{target: &t, options: o, places: make(chan struct{}, o.Parallel)}
	if err := r.learn(ctx); err != nil {
		return nil, err
	}
	outcomes := r.all(ctx, attacks)
	if ctx.Err() != nil {
		return outcomes, context.Cause(ctx)
	}
	return outcomes, r.stillServes(ctx)
}

func chosen(only []string) ([]attack, error) {
	all := suite()
	if len(only) == 0 {
		return all, nil
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(a attack) bool { return a.Name == name }) {
			return nil, fmt.Errorf("%w: there is no attack %q", ErrTarget, name)
		}
	}
	return slices.DeleteFunc(all, func(a attack) bool { return !slices.Contains(only, a.Name) }), nil
}

type run struct {
	target  *Target
	options Options
	places  chan struct{}

	endpoint, client facts
}

// all tries the attacks.
func (r *run) all(ctx context.Context, attacks []attack) []Outcome {
	outcomes := make([]Outcome, len(attacks))
	var wg sync.WaitGroup
	start := func(i int) {
		wg.Go(func() {
			if !attacks[i].Slow {
				r.places <- struct{}{}
				defer func() { <-r.places }()
			}
			outcomes[i] = r.one(ctx, attacks[i])
		})
	}
	for i := range attacks {
		start(i)
	}
	wg.Wait()
	return outcomes
}

// one tries an attack.
func (r *run) one(ctx context.Context, a attack) Outcome {
	out := Outcome{Attack: a.Attack}
	s, err := r.scene(a)
	start := time.Now()
	var v verdict
	if err == nil {
		defer s.close()
		v, err = a.try(ctx, s)
	}
	out.Took = time.Since(start)
	out.Milliseconds = float64(out.Took.Microseconds()) / 1000
	var not inapplicable
	switch {
	case ctx.Err() != nil: // which also closed the connections
		out.Outcome, out.Note = NotTried, fmt.Sprintf("the run was ended: %v", context.Cause(ctx))
	case errors.As(err, &not):
		out.Outcome, out.Note = NotApplicable, not.Error()
	case err != nil:
		out.Outcome, out.Note = NotTried, err.Error()
	default:
		out.Outcome, out.Step, out.Alert, out.Note = v.result, string(v.step), v.alert, v.note
	}
	return out
}

// scene sets the scene for an attack, or says why it makes no sense.
func (r *run) scene(a attack) (*scene, error) {
	s := &scene{target: r.target, options: r.options, victim: a.Victim, facts: r.endpoint, endpoint: r.endpoint, client: r.client}
	if a.Victim.isClient() {
		if r.target.Client == nil {
			return nil, inapplicable("the Target has no Client")
		}
		s.facts = r.client
	}
	switch {
	case a.mutual && !(s.asks && s.attests):
		return nil, inapplicable("the victim does not both ask and attest")
	case a.Victim.isRelying() && !s.asks:
		return nil, inapplicable("the victim does not ask for attestation")
	case a.Victim.isAttester() && !s.attests:
		return nil, inapplicable("the victim does not attest")
	}
	return s, nil
}

// ErrHonest: a victim refuses honest peers, so that its refusals mean nothing.
var ErrHonest = errors.New("attacktest: an honest connection was refused")

// learn makes an honest connection to each victim, and notes what it does.
func (r *run) learn(ctx context.Context) error {
	var err error
	if r.endpoint, err = r.honest(ctx, EndpointRelying); err != nil {
		return fmt.Errorf("%w by the endpoint: %w", ErrHonest, err)
	}
	if r.target.Client == nil {
		return nil
	}
	if r.client, err = r.honest(ctx, ClientRelying); err != nil {
		return fmt.Errorf("%w by the client: %w", ErrHonest, err)
	}
	return nil
}

// stillServes makes honest connections after the attacks.
func (r *run) stillServes(ctx context.Context) error {
	if err := r.learn(ctx); err != nil {
		return fmt.Errorf("after the attacks: %w", err)
	}
	return nil
}

// honest makes an honest connection. A victim that offers to be asked anew, and
// refuses who does not, may demand it: so there is a second one, with that offer.
func (r *run) honest(ctx context.Context, victim Victim) (facts, error) {
	f, err := r.honestly(ctx, victim, false)
	if err != nil && f.offers {
		f, err = r.honestly(ctx, victim, true)
		f.demands = true
	}
	return f, err
}

// honestly makes one honest connection, on which both sides ask if the victim
// attests. What it learns is returned with an error too.
func (r *run) honestly(ctx context.Context, victim Victim, mux bool) (facts, error) {
	s := &scene{target: r.target, options: r.options, victim: victim}
	defer s.close()
	p, err := s.meet(ctx)
	if err != nil {
		return facts{}, err
	}
	p.mux = mux
	// The victim's HELLO does not wait for ours.
	if err := p.receive(); err != nil {
		return facts{}, err
	}
	s.asks, s.attests, s.offers = p.hello.WillRequest, p.hello.CanAttest, p.hello.Mux
	p.sendHello(s.attests, p.party.Attester != nil)
	if err := p.honest(ctx); err != nil {
		return s.facts, err
	}
	if s.attests {
		if err := p.judge(0); err != nil {
			return s.facts, err
		}
	}
	return s.facts, p.opened(ctx)
}

// judge asks a victim that attests, and accepts what it shows for a time; 0 is
// as long as the connection.
func (p *peer) judge(lifetime time.Duration) error {
	session, q, b, err := p.askAs(asUsual)
	if err != nil {
		return err
	}
	if _, err := session.Validate(q, b, anyChain); err != nil {
		return err
	}
	p.before = q
	p.sendVerdict(expat.AlertAccepted, lifetime)
	return p.broken
}

// opened checks that a client victim takes the connection for open. Of the
// endpoint nothing more can be seen.
func (p *peer) opened(ctx context.Context) error {
	if p.client == nil {
		return nil
	}
	end, err := p.awaitClient(ctx)
	if err != nil {
		return err
	}
	if end.err == nil {
		p.cleanup(func() { _ = end.conn.Close() })
	}
	return end.err
}

// T is what [Test] needs of a *testing.T.
type T interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Test runs the attacks as part of a test, which fails for each that was accepted
// or could not be tried. What is not applicable is logged with the reason.
func Test(t T, target Target, o Options) {
	t.Helper()
	outcomes, err := Run(t.Context(), target, o)
	for _, out := range outcomes {
		switch out.Outcome {
		case Refused:
		case NotApplicable:
			t.Logf("%s, %s: not applicable: %s", out.Name, out.Victim, out.Note)
		default:
			t.Errorf("%s (%s), %s: %s at step %q: %s\n\tattacker: %s\n\tmust be refused by: %s",
				out.Name, out.Requirement, out.Victim, out.Outcome, out.Step, out.Note, out.Does, out.Defence)
		}
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
}
