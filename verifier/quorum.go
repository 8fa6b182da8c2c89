package verifier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// ErrNoQuorum: fewer members of a quorum than needed found the message affirming.
var ErrNoQuorum = errors.New("no quorum")

// Member is one Verifier of a quorum.
type Member struct {
	// Name is unique in the quorum, not empty and without "/".
	Name string
	// Verifier is told the Binding of the connection like any other.
	Verifier attestation.Verifier
}

// MemberError is what one member of a quorum has against a message.
type MemberError struct {
	Member string
	Err    error
}

func (e *MemberError) Error() string { return fmt.Sprintf("member %q: %v", e.Member, e.Err) }

// Unwrap returns Err.
func (e *MemberError) Unwrap() error { return e.Err }

// dissent is how long a quorum that is decided waits for the members that have not
// answered, so that a no is reported; at most half of what is left of ctx.
const dissent = 50 * time.Millisecond

// quorum has several Verifiers judge the same message.
type quorum struct {
	name    string
	need    int
	members []Member
}

// NewQuorum makes a Verifier that has all members judge the same message at the
// same time, and takes it where at least need of them find it affirming. A member
// that rejects it, finds it malformed or is short of affirming says no; one that
// has no verdict, panics, or does not answer until ctx ends says nothing, and is
// never a yes. A need of len(members) is "all": each no is a veto.
//
// MediaTypes are those that at least need members take: a message that fewer can
// read could not get a quorum. Who takes a message of several leaves takes each;
// other members are not asked, and a message that fewer than need take is
// [attestation.ErrMalformed].
//
// The Result has the shortest lifetime of those who said yes, their Appraisals,
// each called by the member's name, "/" and what the member calls it, and a last
// Appraisal called by the quorum's name, whose claims say how each member voted. It
// comes 50 ms after it is decided at the latest, even if members are still
// silent.
//
// Without a quorum the error wraps [ErrNoQuorum] and a [*MemberError] for each
// member that decided it, and says in words what the others had to say: an
// [*attestation.RejectedError] where so many said no that the rest do not matter
// ([attestation.ErrMalformed] if none of them got as far as a verdict), else
// [attestation.ErrUnavailable].
//
// The error of NewQuorum wraps [ErrPolicy].
func NewQuorum(name string, need int, members ...Member) (attestation.Verifier, error) {
	q := &quorum{name: name, need: need, members: slices.Clone(members)}
	if name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf(`%w: give the quorum a name without "/"`, ErrPolicy)
	}
	if need < 1 || need > len(members) {
		return nil, fmt.Errorf("%w: a quorum of %d needs 1 to %d members to agree, not %d", ErrPolicy, len(members), len(members), need)
	}
	names := make(map[string]bool, len(members))
	for i, m := range members {
		if m.Name == "" || strings.Contains(m.Name, "/") || names[m.Name] || m.Verifier == nil {
			return nil, fmt.Errorf(`%w: member %d needs a Verifier and a Name of its own without "/"`, ErrPolicy, i)
		}
		names[m.Name] = true
	}
	if len(q.MediaTypes()) == 0 {
		return nil, fmt.Errorf("%w: there is no media type that %d members take", ErrPolicy, need)
	}
	return q, nil
}

// MediaTypes are those of the moment: members that read their policies again can change
// them.
func (q *quorum) MediaTypes() []string {
	var takes [][]string // by member
	for _, m := range q.members {
		takes = append(takes, m.Verifier.MediaTypes())
	}
	var out []string
	for _, t := range slices.Concat(takes...) {
		takers := 0
		for _, types := range takes {
			takers += len(attestation.Common([]string{t}, types))
		}
		if takers >= q.need && len(attestation.Common([]string{t}, out)) == 0 {
			out = append(out, t)
		}
	}
	return out
}

func (q *quorum) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	var questions []question
	for _, member := range q.members {
		if _, ok := takes(member.Verifier.MediaTypes(), m); ok {
			questions = append(questions, question{member.Name, member.Verifier, m})
		}
	}
	if len(questions) < q.need {
		return nil, fmt.Errorf("%w: %w: %d members take such a message, %d are needed", attestation.ErrMalformed, ErrNoQuorum, len(questions), q.need)
	}
	v := q.poll(ctx, b, questions)
	switch {
	case v.yes >= q.need:
		return q.accept(b, v)
	case v.decided():
		return nil, q.refuse(v)
	}
	return nil, v.unavailable()
}

// poll asks until it is decided and the time for dissent is over, or ctx ends.
func (q *quorum) poll(ctx context.Context, b attestation.Binding, questions []question) *votes {
	ctx, cancel := context.WithCancel(ctx) // whoever is still at it may stop
	defer cancel()
	v := newVotes(q.need, questions)
	answers := askAll(ctx, b, questions)
	var over <-chan time.Time // nil: not decided
	for range questions {
		select {
		case a := <-answers:
			v.count(a)
		case <-over:
			return v
		case <-ctx.Done():
			v.end(context.Cause(ctx))
			return v
		}
		if over == nil && v.decided() {
			over = time.After(patience(ctx))
		}
	}
	return v
}

func patience(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(dissent, time.Until(deadline)/2)
	}
	return dissent
}

func (q *quorum) accept(b attestation.Binding, v *votes) (*attestation.Result, error) {
	lifetime := attestation.ConnectionLifetime
	var appraisals []attestation.Appraisal
	for _, o := range v.opinions {
		if o.err == nil {
			lifetime = min(lifetime, o.result.Lifetime())
			appraisals = append(appraisals, prefixed(o.name, o.result.Appraisals())...)
		}
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier: q.name, Appraisals: append(appraisals, q.minutes(attestation.TierAffirming, v)), Lifetime: lifetime,
	})
}

// refuse is the answer where enough members said no.
func (q *quorum) refuse(v *votes) error {
	var appraisals []attestation.Appraisal
	judged := false
	reasons := []error{v.summary()}
	for _, o := range v.opinions {
		switch {
		case o.err == nil:
			appraisals = append(appraisals, prefixed(o.name, o.result.Appraisals())...)
		case errors.Is(o.err, attestation.ErrRejected):
			judged = true
			found, reason := o.rejection()
			appraisals = append(appraisals, prefixed(o.name, found)...)
			reasons = append(reasons, &MemberError{o.name, reason})
		case saysNo(o.err):
			reasons = append(reasons, &MemberError{o.name, o.err})
		default:
			reasons = append(reasons, inWords(o))
		}
	}
	if !judged {
		return errors.Join(reasons...) // wraps ErrMalformed
	}
	return &attestation.RejectedError{
		Appraisals: append(appraisals, q.minutes(attestation.TierContraindicated, v)), Err: errors.Join(reasons...),
	}
}

// minutes is the appraisal that says who voted how.
func (q *quorum) minutes(status attestation.Tier, v *votes) attestation.Appraisal {
	said := make(map[string]any, len(q.members))
	for _, m := range q.members {
		said[m.Name] = "not asked: it does not take such a message"
	}
	for _, o := range v.opinions {
		said[o.name] = o.vote()
	}
	return attestation.Appraisal{
		Environment: q.name, Status: status, Policy: q.name,
		Claims: map[string]any{"need": q.need, "votes": said},
	}
}
