package verifier

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/expat-go/expat/attestation"
)

// votes are the opinions of the members of a quorum that were asked, in the order
// of the members.
type votes struct {
	need     int
	yes, no  int
	opinions []opinion
	silent   []bool
}

var errSilent = fmt.Errorf("%w: it has not answered in time", attestation.ErrUnavailable)

func newVotes(need int, questions []question) *votes {
	v := &votes{need: need, opinions: make([]opinion, len(questions)), silent: make([]bool, len(questions))}
	for i, q := range questions {
		v.opinions[i], v.silent[i] = opinion{name: q.name, err: errSilent}, true
	}
	return v
}

func (v *votes) count(a answer) {
	v.opinions[a.index], v.silent[a.index] = a.opinion, false
	switch {
	case a.err == nil:
		v.yes++
	case saysNo(a.err):
		v.no++
	}
}

// end says of those who are silent why nobody waits for them.
func (v *votes) end(cause error) {
	for i := range v.opinions {
		if v.silent[i] {
			v.opinions[i].err = fmt.Errorf("%w: %w", attestation.ErrUnavailable, cause)
		}
	}
}

// decided tells whether nothing that is still said can change the answer.
func (v *votes) decided() bool { return v.yes >= v.need || v.no > len(v.opinions)-v.need }

// saysNo tells a member that has made up its mind from one without a verdict.
func saysNo(err error) bool {
	return errors.Is(err, attestation.ErrRejected) ||
		errors.Is(err, attestation.ErrMalformed) && !errors.Is(err, attestation.ErrUnavailable)
}

func (v *votes) summary() error {
	return fmt.Errorf("%w: %d of %d needed, %d said yes and %d no", ErrNoQuorum, v.need, len(v.opinions), v.yes, v.no)
}

// unavailable is the answer where too few had a verdict. A no among them is told
// in words only, as it did not decide.
func (v *votes) unavailable() error {
	reasons := []error{fmt.Errorf("%w: %w", attestation.ErrUnavailable, v.summary())}
	for _, o := range v.opinions {
		switch {
		case o.err == nil:
		case saysNo(o.err):
			reasons = append(reasons, inWords(o))
		default:
			reasons = append(reasons, &MemberError{o.name, o.err})
		}
	}
	return errors.Join(reasons...)
}

// inWords is an error that matches none.
func inWords(o opinion) error {
	return errors.New((&MemberError{o.name, o.err}).Error())
}

// vote is an opinion in few words, without the values that a reason may quote: it
// can be shown to the peer.
func (o opinion) vote() string {
	switch {
	case o.err == nil:
		return o.result.Tier().String()
	case !saysNo(o.err):
		if errors.Is(o.err, context.DeadlineExceeded) || o.err == errSilent {
			return "no verdict in time"
		}
		return "no verdict"
	case !errors.Is(o.err, attestation.ErrRejected):
		return "malformed"
	}
	var failed []string
	for _, c := range FailedChecks(o.err) {
		failed = append(failed, string(c.Check))
	}
	if failed == nil {
		return "rejected"
	}
	return "rejected: " + strings.Join(failed, ", ")
}
