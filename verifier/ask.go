package verifier

import (
	"context"
	"errors"
	"fmt"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
)

// question is one Verifier, by the name it has in a composition, and the message
// that it is to judge.
type question struct {
	name     string
	verifier attestation.Verifier
	message  *cmw.Message
}

// opinion is what one Verifier answered: an affirming Result for the Binding, or an
// error.
type opinion struct {
	name   string
	result *attestation.Result
	err    error
}

// rejection is what an opinion of no says: the appraisals that were made, and why.
func (o opinion) rejection() ([]attestation.Appraisal, error) {
	var no *attestation.RejectedError
	if errors.As(o.err, &no) && no.Err != nil {
		return no.Appraisals, no.Err
	}
	return nil, o.err
}

// answer is an opinion on the question with that index.
type answer struct {
	index int
	opinion
}

// askAll asks all at the same time. Every question has one answer, whatever its
// Verifier does, but for one that never returns; nobody needs to take the answers.
func askAll(ctx context.Context, b attestation.Binding, questions []question) <-chan answer {
	answers := make(chan answer, len(questions))
	for i, q := range questions {
		go func() {
			// Stays if runtime.Goexit ends the goroutine.
			o := opinion{name: q.name, err: fmt.Errorf("%w: it ended its goroutine", attestation.ErrUnavailable)}
			defer func() {
				if p := recover(); p != nil { // it could not be recovered elsewhere
					o = opinion{name: q.name, err: fmt.Errorf("%w: it panicked with a %T", attestation.ErrUnavailable, p)}
				}
				answers <- answer{i, o}
			}()
			o.result, o.err = q.ask(ctx, b)
		}()
	}
	return answers
}

// ask has one Verifier judge one message, and admits only a Result that is
// affirming and answers b.
func (q question) ask(ctx context.Context, b attestation.Binding) (*attestation.Result, error) {
	if mediaType, ok := takes(q.verifier.MediaTypes(), q.message); !ok {
		return nil, fmt.Errorf("%w: this verifier does not take %.100q", attestation.ErrMalformed, mediaType)
	}
	r, err := q.verifier.Appraise(ctx, b, q.message)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, fmt.Errorf("%w: it returned neither result nor error", attestation.ErrUnavailable)
	case !r.Answers(b):
		return nil, fmt.Errorf("%w: %w", attestation.ErrUnavailable, attestation.ErrWrongResult)
	case r.Tier() != attestation.TierAffirming:
		return nil, &attestation.RejectedError{
			Appraisals: r.Appraisals(),
			Err:        fmt.Errorf("%w: it is %v", ErrLeafTier, r.Tier()),
		}
	}
	return r, nil
}

// takes tells whether all leaves of a message are of the given types, and else
// which is not.
func takes(mediaTypes []string, m *cmw.Message) (string, bool) {
	for _, leaf := range m.Leaves() {
		if len(attestation.Common([]string{leaf.MediaType}, mediaTypes)) == 0 {
			return leaf.MediaType, false
		}
	}
	return "", true
}
