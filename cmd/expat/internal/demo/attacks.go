package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// Outcomes of an attack.
const (
	Refused  = "refused"
	Accepted = "accepted"
)

// Attack is what came of one attack.
type Attack struct {
	Name    string `json:"name"`
	Victim  string `json:"victim"` // server or client
	Has     string `json:"attacker_has"`
	Does    string `json:"attacker_does"`
	Outcome string `json:"outcome"`
	Step    string `json:"step"` // at which the victim refused; "" if it did not

	Checks []string `json:"checks,omitempty"` // of the appraisal, those that failed
	Error  string   `json:"error,omitempty"`  // what the victim says, locally
	Alert  string   `json:"alert,omitempty"`  // all that the attacker is told
	Lesson string   `json:"lesson"`

	reasons []string // Error by check, for people
	wanted  bool     // refused where and because it must be
}

// attack is an attack before it was tried.
type attack struct {
	name, victim, has, does, lesson string

	step   expat.Stage      // where it must be refused
	checks []verifier.Check // and by which checks
	configs
}

// configs returns how the two sides of an attacked connection are set up. One of
// them is the victim's, exactly as in an honest connection.
type configs func(*cast) (serverConfig, clientConfig *expat.Config, err error)

func attacks() []attack {
	return []attack{
		{
			name:   "relay",
			victim: client,
			has:    "a certificate for server.example that the CA issued by mistake",
			does:   "poses as the server; has the real one attest, and passes its Evidence on",
			lesson: "Evidence is good on the connection for which it was made, and nowhere else",
			step:   expat.StageAppraise,
			checks: []verifier.Check{verifier.CheckBinder, verifier.CheckKeyHash},
			configs: func(c *cast) (*expat.Config, *expat.Config, error) {
				s, err := c.attacker(c.server.name, &relay{cast: c}, nil)
				return s, c.config(c.client, nil), err
			},
		},
		{
			name:   "key substitution",
			victim: client,
			has:    "such a certificate, and a way to call the TEE of the real server",
			does:   "has that TEE attest a key outside it, for this very connection",
			lesson: "the right machine and software are not enough if the key is elsewhere",
			step:   expat.StageAppraise,
			checks: []verifier.Check{verifier.CheckKeyProvenance},
			configs: func(c *cast) (*expat.Config, *expat.Config, error) {
				s, err := c.attacker(c.server.name, simulated.NewAttester(c.server.device, simulated.ForeignKey), nil)
				return s, c.config(c.client, nil), err
			},
		},
		{
			name:   "downgrade",
			victim: server,
			has:    "a certificate for client.example, and no TEE",
			does:   "poses as the client and claims to be unable to attest",
			lesson: "who must attest is set where the server is configured; the peer has no say in it",
			step:   expat.StageHello,
			configs: func(c *cast) (*expat.Config, *expat.Config, error) {
				a, err := c.attacker(c.client.name, nil, credulous{})
				return c.config(c.server, nil), a, err
			},
		},
	}
}

// try runs an attack. Its error means that it could not be tried.
func (a *attack) try(ctx context.Context, c *cast) (Attack, error) {
	out := Attack{Name: a.name, Victim: a.victim, Has: a.has, Does: a.does, Lesson: a.lesson, Outcome: Accepted}
	serverConfig, clientConfig, err := a.configs(c)
	if err != nil {
		return out, err
	}
	m, err := meet(ctx, serverConfig, clientConfig)
	if err != nil {
		return out, err
	}
	defer m.close()
	found := m.clientErr
	if a.victim == server {
		found = m.serverErr
	}
	if found == nil {
		return out, nil
	}
	out.Outcome, out.Error = Refused, found.Error()
	var e *expat.Error
	if !errors.As(found, &e) {
		return out, nil
	}
	out.Step, out.Alert = string(e.Stage), fmt.Sprintf("%s (%d)", e.Alert, uint16(e.Alert))
	failed := verifier.FailedChecks(found)
	for _, check := range failed {
		out.Checks = append(out.Checks, string(check.Check))
		out.reasons = append(out.reasons, check.Error())
	}
	if len(failed) == 0 {
		out.reasons = []string{e.Err.Error()}
	}
	out.wanted = e.Side == expat.Local && e.Stage == a.step && sameChecks(failed, a.checks)
	return out, nil
}

func sameChecks(got []*verifier.CheckError, want []verifier.Check) bool {
	if len(got) != len(want) {
		return false
	}
	for i, check := range got {
		if check.Check != want[i] {
			return false
		}
	}
	return true
}
