package attacktest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/expat-go/expat"
)

// Victim says whom an attack is made on, and in which part.
type Victim string

// The victims. The endpoint is the server that Target.Dial reaches; where no part
// is named the attack is the same on either.
const (
	Endpoint         Victim = "endpoint"
	EndpointRelying  Victim = "endpoint as relying party"
	EndpointAttester Victim = "endpoint as attester"
	Client           Victim = "client"
	ClientRelying    Victim = "client as relying party"
	ClientAttester   Victim = "client as attester"
)

func (v Victim) isClient() bool {
	return v == Client || v == ClientRelying || v == ClientAttester
}
func (v Victim) isRelying() bool  { return v == EndpointRelying || v == ClientRelying }
func (v Victim) isAttester() bool { return v == EndpointAttester || v == ClientAttester }

// An Attack describes one attack. Name and Victim together identify it.
type Attack struct {
	Name        string `json:"name"`
	Requirement string `json:"requirement"` // row of the threat model, such as I-1
	Victim      Victim `json:"victim"`
	Has         string `json:"attacker_has"` // beside the network
	Does        string `json:"attacker_does"`
	Defence     string `json:"defence"` // what must refuse it
	Slow        bool   `json:"-"`       // it waits for a deadline of the victim, beside all others
}

// Result is what came of an attack.
type Result string

// The results. Anything but Refused and NotApplicable needs looking at.
const (
	Refused       Result = "refused"
	Accepted      Result = "accepted"
	NotApplicable Result = "not applicable" // Note says why
	NotTried      Result = "not tried"      // the attack could not be carried out; Note says why
)

// An Outcome is an attack and what happened.
type Outcome struct {
	Attack
	Outcome Result `json:"outcome"`
	// Step is where the victim refused, as far as that shows from outside: a
	// [expat.Stage].
	Step string `json:"step"`
	// Alert is the code that the victim sent in ALERT or RESULT, the TLS alert, or
	// another way in which it said no; "" if it closed without a word.
	Alert string `json:"alert,omitempty"`
	// Note says what was accepted, or why nothing was tried.
	Note string        `json:"note,omitempty"`
	Took time.Duration `json:"-"`
	// Milliseconds is Took.
	Milliseconds float64 `json:"ms"`
}

// alertText names a code of the wire.
func alertText(code uint16) string { return fmt.Sprintf("%v (%d)", expat.Alert(code), code) }

// Count tells how many outcomes have a result.
func Count(outcomes []Outcome, r Result) int {
	n := 0
	for _, o := range outcomes {
		if o.Outcome == r {
			n++
		}
	}
	return n
}

// WriteTable prints outcomes, one a line, with the note below, and a summary.
func WriteTable(w io.Writer, outcomes []Outcome) error {
	var table bytes.Buffer
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ATTACK\tROW\tVICTIM\tOUTCOME\tSTEP\tTIME\tALERT")
	for _, o := range outcomes {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.Name, o.Requirement, o.Victim, o.Outcome, dash(o.Step), o.Took.Round(time.Millisecond), dash(o.Alert))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	lines := strings.SplitAfter(table.String(), "\n")
	var text strings.Builder
	text.WriteString(lines[0])
	for i, o := range outcomes {
		text.WriteString(lines[i+1])
		if o.Note != "" {
			fmt.Fprintf(&text, "    %s\n", o.Note)
		}
	}
	fmt.Fprintf(&text, "%d attacks: %d refused, %d accepted, %d not tried, %d not applicable\n", len(outcomes),
		Count(outcomes, Refused), Count(outcomes, Accepted), Count(outcomes, NotTried), Count(outcomes, NotApplicable))
	_, err := io.WriteString(w, text.String())
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
