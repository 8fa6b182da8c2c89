package policy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expat-go/expat/cmw"
)

// ErrMixed: some messages are collections, and some are not.
var ErrMixed = errors.New("some of the Evidence is composite and some is not; make a policy of each")

// LearnInput is Evidence that a draft is made of.
type LearnInput struct {
	Source  string // where it came from, for the comments
	Message *cmw.Message
}

// LearnOptions say how a draft is made.
type LearnOptions struct {
	Name      string // of the policy
	Platforms []Platform
	// Roots, in PEM, are those of the Evidence. Nil: those that come with the
	// program for the platform.
	Roots []byte
	// Now is the clock by which certificates must be valid. Nil: time.Now.
	Now func() time.Time
}

// Learn makes a draft of Evidence whose signatures lead to the roots; other Evidence
// is an error. To which connection the Evidence was bound is not known to it.
func Learn(ctx context.Context, inputs []LearnInput, o LearnOptions) (*Draft, error) {
	if len(inputs) == 0 {
		return nil, ErrNothingLearned
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Draft{Name: o.Name, Composite: inputs[0].Message.Kind() == cmw.KindCollection, Comment: []string{
		"DRAFT of an appraisal policy, made of Evidence whose signature was verified.",
		"It says what was there, not that it was good: compare every value with what",
		"whoever built and runs the machine states. What begins with # is not in force.",
	}}
	for _, in := range inputs {
		if d.Composite != (in.Message.Kind() == cmw.KindCollection) {
			return nil, ErrMixed
		}
		for _, leaf := range in.Message.Leaves() {
			if err := d.learn(ctx, in.Source, leaf, &o); err != nil {
				return nil, fmt.Errorf("%s: %w", in.Source, err)
			}
		}
	}
	return d, nil
}

// learn adds one leaf to the draft.
func (d *Draft) learn(ctx context.Context, source string, leaf cmw.Leaf, o *LearnOptions) error {
	if leaf.Indicator != 0 && leaf.Indicator != cmw.Evidence {
		return fmt.Errorf("it is %v, not Evidence", leaf.Indicator)
	}
	i := slices.IndexFunc(o.Platforms, func(p Platform) bool {
		return p.Learn != nil && slices.ContainsFunc(p.MediaTypes, func(t string) bool { return cmw.SameMediaType(t, leaf.MediaType) })
	})
	if i < 0 {
		return fmt.Errorf("no platform that is known here makes Evidence of %.100q", leaf.MediaType)
	}
	platform := &o.Platforms[i]
	root, pool, err := o.root(platform)
	if err != nil {
		return err
	}
	claims, section, err := platform.Learn(ctx, leaf.MediaType, leaf.Value, pool, o.Now())
	if err != nil {
		return fmt.Errorf("nothing is learned of Evidence that is not verified: %w", err)
	}
	var path []string
	for _, l := range leaf.Path {
		path = append(path, l.String())
	}
	label := strings.Join(path, "/")
	at := slices.IndexFunc(d.Environments, func(e DraftEnvironment) bool { return e.Label == label && e.Platform == platform.Name })
	if at < 0 {
		at = len(d.Environments)
		d.Environments = append(d.Environments, DraftEnvironment{Label: label, Platform: platform.Name, Root: root, Section: section})
	}
	e := &d.Environments[at]
	if !slices.Equal(e.Section, section) {
		// The levels of two machines differ: which is good enough is not for us.
		for _, l := range section {
			e.Section = append(e.Section, comment("# "+source+": "+l))
		}
	}
	e.Observed = append(e.Observed, Observation{Source: source, Claims: claims})
	return nil
}

// root is what Evidence of a platform is verified by.
func (o *LearnOptions) root(p *Platform) (DraftRoot, *x509.CertPool, error) {
	if o.Roots == nil {
		if p.Vendor == "" {
			return DraftRoot{}, nil, fmt.Errorf("no roots of %s come with the program: name a file of roots", p.Name)
		}
		return DraftRoot{Vendor: p.Vendor}, p.VendorRoots(), nil
	}
	certs, err := parseRoots(o.Roots)
	if err != nil {
		return DraftRoot{}, nil, fmt.Errorf("the roots are not usable: %w", err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return DraftRoot{PEM: o.Roots}, pool, nil
}
