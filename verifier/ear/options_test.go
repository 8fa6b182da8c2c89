package ear

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

func TestCheckerOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change    func(p *party)
		statement func(s *Statement)
		want      error
	}{
		"audience":         {func(p *party) { p.options.Audience = "us" }, func(s *Statement) { s.Audience = "us" }, nil},
		"other audience":   {func(p *party) { p.options.Audience = "us" }, func(s *Statement) { s.Audience = "them" }, ErrAudience},
		"no audience":      {func(p *party) { p.options.Audience = "us" }, nil, ErrAudience},
		"verifier":         {func(p *party) { p.options.Verifiers = []VerifierID{{Developer: "https://expat.example"}} }, nil, nil},
		"verifier's build": {func(p *party) { p.options.Verifiers = []VerifierID{{"https://expat.example", "v1"}} }, nil, nil},
		"other build":      {func(p *party) { p.options.Verifiers = []VerifierID{{"https://expat.example", "v2"}} }, nil, ErrVerifierID},
		"other developer":  {func(p *party) { p.options.Verifiers = []VerifierID{{Developer: "x"}} }, nil, ErrVerifierID},
		"policy":           {func(p *party) { p.options.Policies = []string{"x", "policy-1"} }, nil, nil},
		"other policy":     {func(p *party) { p.options.Policies = []string{"policy-2"} }, nil, ErrPolicyID},
		"one of two others": {func(p *party) { p.options.Policies = []string{"policy-1"} }, func(s *Statement) {
			s.Appraisals = append(s.Appraisals, attestation.Appraisal{Environment: "z", Status: attestation.TierAffirming})
		}, ErrPolicyID},
		"warning":          {func(p *party) { p.options.AcceptWarning = true }, func(s *Statement) { s.Appraisals[0].Vector.Executables = 32 }, nil},
		"worse":            {func(p *party) { p.options.AcceptWarning = true }, func(s *Statement) { s.Appraisals[0].Vector.Executables = 96 }, ErrTier},
		"none":             {func(p *party) { p.options.AcceptWarning = true }, func(s *Statement) { s.Appraisals[0].Status = attestation.TierNone }, ErrTier},
		"maximum age":      {func(p *party) { p.options.MaxAge, p.options.Skew = time.Minute, 1; p.add(time.Minute) }, nil, nil},
		"over maximum age": {func(p *party) { p.options.MaxAge, p.options.Skew = time.Minute, 1; p.add(time.Minute + 1) }, nil, ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t)
			s := p.statement()
			if c.statement != nil {
				c.statement(&s)
			}
			token := p.issue(t, s)
			c.change(p)
			_, err := p.check(t, token)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestAllowUnnamedIssuer(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.options.AllowUnnamedIssuer = true
	m := p.payload(t)
	delete(m, "iss")
	e, err := p.check(t, p.sign(t, goodHeader, encode(t, m)))
	require.NoError(t, err)
	require.Equal(t, issuerName, e.Issuer())
	m["iss"] = "another"
	_, err = p.check(t, p.sign(t, goodHeader, encode(t, m)))
	requireNo(t, err, ErrIssuer)
}

func TestTierComesWithAppraisals(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	bad := affirming("bad")
	bad.Vector.Configuration = 96
	_, err := p.check(t, p.issue(t, p.statement(affirming("tee"), bad)))
	requireNo(t, err, ErrTier)
	var rejected *attestation.RejectedError
	require.True(t, errors.As(err, &rejected))
	bad.Status = attestation.TierContraindicated
	require.Equal(t, []attestation.Appraisal{bad, affirming("tee")}, rejected.Appraisals)
	require.EqualError(t, err, `attestation rejected: the EAR does not affirm: submodule "bad" is contraindicated (configuration is 96)`)
}

func TestNewCheckerMisuse(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o *CheckerOptions){
		"keys":            func(o *CheckerOptions) { o.Keys = nil },
		"issuer":          func(o *CheckerOptions) { o.Issuer = "" },
		"maximum age":     func(o *CheckerOptions) { o.MaxAge = time.Second - 1 },
		"negative age":    func(o *CheckerOptions) { o.MaxAge = -time.Hour },
		"skew":            func(o *CheckerOptions) { o.Skew = -1 },
		"verifiers":       func(o *CheckerOptions) { o.Verifiers = []VerifierID{} },
		"policies":        func(o *CheckerOptions) { o.Policies = []string{} },
		"verifier's name": func(o *CheckerOptions) { o.Verifiers = []VerifierID{{Build: "b"}} },
		"an empty policy": func(o *CheckerOptions) { o.Policies = []string{"p", ""} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t)
			change(&p.options)
			_, err := NewChecker(p.options)
			require.ErrorIs(t, err, attestation.ErrMisuse)
		})
	}
	p := newParty(t)
	p.options.Now = nil
	c, err := NewChecker(p.options)
	require.NoError(t, err)
	_, err = c.Check(context.Background(), p.issue(t, p.statement()))
	require.Error(t, err, "the tests' clock is not today's")
}

// The longest ages there are do not wrap around.
func TestLongestAges(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.options.MaxAge, p.options.Skew = math.MaxInt64, math.MaxInt64
	_, err := p.check(t, p.issue(t, p.statement()))
	require.NoError(t, err)
}

type keysFunc func(kid string) ([]Key, error)

func (f keysFunc) Keys(_ context.Context, kid string) ([]Key, error) { return f(kid) }

// No keys is no verdict: neither yes nor no.
func TestKeysUnavailable(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	token := p.issue(t, p.statement())
	down := errors.New("down")
	for name, keys := range map[string]keysFunc{
		"error":        func(string) ([]Key, error) { return nil, down },
		"no key in it": func(string) ([]Key, error) { return []Key{{ID: "k1"}}, nil },
	} {
		p.options.Keys = keys
		_, err := p.check(t, token)
		require.ErrorIs(t, err, attestation.ErrUnavailable, name)
		require.ErrorIs(t, err, ErrKeySet, name)
		require.NotErrorIs(t, err, attestation.ErrRejected, name)
	}
	p.options.Keys = keysFunc(func(kid string) ([]Key, error) { require.Equal(t, "k1", kid); return nil, nil })
	_, err := p.check(t, token)
	requireNo(t, err, ErrUnknownKey)
}
