package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func play(t *testing.T, o Options) *Report {
	t.Helper()
	r, err := Run(context.Background(), o)
	require.NoError(t, err)
	return r
}

func TestRun(t *testing.T) {
	t.Parallel()
	r := play(t, Options{})
	require.NoError(t, r.Check())
	require.Equal(t, "affirming", r.Server.Tier)
	require.Equal(t, "client.example", r.Server.Certificate)
	require.Equal(t, "client of the demo", r.Server.Policy)
	require.Equal(t, "server.example", r.Client.Certificate)
	require.NotEqual(t, r.Server.Claims["vendor"], r.Client.Claims["vendor"])
	require.Equal(t, 8, r.Exchange.Frames)
	require.Len(t, r.Attacks, 3)
	for i, want := range []struct {
		step   string
		checks []string
		alert  string
	}{
		{"appraise", []string{"binder", "key hash"}, "attestation rejected (7)"}, // I-2, I-3
		{"appraise", []string{"key provenance"}, "attestation rejected (7)"},     // I-4
		{"hello", nil, "attestation required (6)"},                               // I-8
	} {
		a := r.Attacks[i]
		require.Equal(t, Refused, a.Outcome)
		require.Equal(t, want.step, a.Step)
		require.Equal(t, want.checks, a.Checks)
		require.Equal(t, want.alert, a.Alert)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	r := play(t, Options{})
	var b bytes.Buffer
	require.NoError(t, r.WriteText(&b))
	for line := range strings.Lines(b.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 101, line)
		require.NotContains(t, line, " \n", "blanks at the end of a line")
	}
	require.Contains(t, b.String(), "3 of 3 attacks refused")
	require.ErrorIs(t, r.WriteText(brokenWriter{}), errBroken)
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(play(t, Options{}))
	require.NoError(t, err)
	var got struct {
		Server, Client struct {
			Tier   string         `json:"tier"`
			Claims map[string]any `json:"claims"`
		}
		Attacks []struct{ Name, Outcome, Step string }
	}
	require.NoError(t, json.Unmarshal(b, &got))
	require.Equal(t, "affirming", got.Server.Tier)
	require.Equal(t, "born-inside", got.Client.Claims["key"])
	require.Len(t, got.Client.Claims["measurements"], 3)
	require.Equal(t, "relay", got.Attacks[0].Name)
	require.Equal(t, "refused", got.Attacks[2].Outcome)
	require.Equal(t, "hello", got.Attacks[2].Step)
}

// A policy that gives up what an attack needs shows that the demonstration can
// fail, and that it notices.
func TestAttackAccepted(t *testing.T) {
	t.Parallel()
	r := play(t, Options{ClientPolicy: func(p *verifier.Policy) { p.AllowExternalKey, p.AcceptWarning = true, true }})
	require.Equal(t, []string{Refused, Accepted, Refused}, []string{r.Attacks[0].Outcome, r.Attacks[1].Outcome, r.Attacks[2].Outcome})
	require.Empty(t, r.Attacks[1].Step)
	require.ErrorIs(t, r.Check(), ErrNotAsExpected)
	require.ErrorContains(t, r.Check(), `"key substitution" was accepted`)
	var b bytes.Buffer
	require.NoError(t, r.WriteText(&b))
	require.Contains(t, b.String(), "ACCEPTED       by the client. This must not happen.")
	require.Contains(t, b.String(), "2 of 3 attacks refused")
}

// The attacker without a TEE gets in where the server does not ask.
func TestDowngradeAccepted(t *testing.T) {
	t.Parallel()
	c, err := newCast(Options{})
	require.NoError(t, err)
	a := attacks()[2]
	configs := a.configs
	a.configs = func(c *cast) (*expat.Config, *expat.Config, error) {
		s, k, err := configs(c)
		s.Verifier = nil
		return s, k, err
	}
	done, err := a.try(context.Background(), c)
	require.NoError(t, err)
	require.Equal(t, Accepted, done.Outcome)
}

// Refused is not enough: it must be for the reason that is being shown.
func TestRefusedForAnotherReason(t *testing.T) {
	t.Parallel()
	c, err := newCast(Options{})
	require.NoError(t, err)
	for _, change := range []func(*attack){
		func(a *attack) { a.step = expat.StageValidate },
		func(a *attack) { a.checks = []verifier.Check{verifier.CheckBinder} },
		func(a *attack) { a.checks = nil },
		func(a *attack) { // the victim does not come to see the attack
			a.configs = func(c *cast) (*expat.Config, *expat.Config, error) {
				s, err := c.attacker("another.example", simulated.NewAttester(c.server.device, simulated.ForeignKey), nil)
				return s, c.config(c.client, nil), err
			}
		},
		func(a *attack) { // the victim's side fails before there is anything to refuse
			a.configs = func(c *cast) (*expat.Config, *expat.Config, error) {
				return c.config(c.server, nil), &expat.Config{}, nil
			}
		},
	} {
		a := attacks()[1]
		change(&a)
		done, err := a.try(context.Background(), c)
		require.NoError(t, err)
		require.Equal(t, Refused, done.Outcome)
		require.NotEmpty(t, done.Error)
		require.ErrorContains(t, (&Report{Attacks: []Attack{done}}).Check(), "was refused for another reason")
	}
}

func TestHonestSideRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{ServerPolicy: func(p *verifier.Policy) { p.MinVersions = map[string]string{"payroll": "2.0"} }},
		{ClientPolicy: func(p *verifier.Policy) { p.MinVersions = map[string]string{"vault": "3.0"} }},
	} {
		_, err := Run(context.Background(), o)
		require.ErrorIs(t, err, ErrNotAsExpected)
		require.ErrorIs(t, err, &verifier.CheckError{Check: verifier.CheckSoftware})
	}
	_, err := Run(context.Background(), Options{ServerPolicy: func(p *verifier.Policy) { p.Roots = nil }})
	require.ErrorIs(t, err, verifier.ErrPolicy)
	_, err = Run(context.Background(), Options{ClientPolicy: func(p *verifier.Policy) { p.Roots = nil }})
	require.ErrorIs(t, err, verifier.ErrPolicy)
}

func TestCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	_, err := Run(ctx, Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), timeout)
}
