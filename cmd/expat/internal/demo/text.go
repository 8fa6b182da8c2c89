package demo

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/expat-go/expat/cmd/expat/internal/show"
)

// WriteText tells the report to a person, in lines of at most 100 columns.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, "expat demo: two TEEs prove to each other what they are, over TLS 1.3 on 127.0.0.1.")
	fmt.Fprintln(&b, "The protocol and the checks are real. The TEEs are simulated: they protect nothing.")
	r.writeParties(&b)
	r.writeSteps(&b)
	r.writeLearned(&b)
	r.writeAttacks(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func heading(w io.Writer, number int, text string) { fmt.Fprintf(w, "\n%d. %s\n\n", number, text) }

// table prints a row of what the two sides have in common.
func table(w io.Writer, name, server, client string) {
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-14s %-39s %s", name, server, client), " "))
}

func (r *Report) writeParties(w io.Writer) {
	s, c := r.cast.server, r.cast.client
	heading(w, 1, "The two sides")
	table(w, "", "server", "client")
	table(w, "certificate", s.name, c.name)
	table(w, "TEE made by", s.maker, c.maker)
	table(w, "TLS key", "born in its TEE", "born in its TEE")
	table(w, "runs", s.software+" "+s.version, c.software+" "+c.version)
	accepts := func(p *party) string {
		if p.accepted != "" {
			return show.Line(p.accepted, 36)
		}
		return fmt.Sprintf("%s %s on one TEE of %s", p.software, p.version, p.maker)
	}
	table(w, "accepts only", accepts(c), accepts(s))
}

func (r *Report) writeSteps(w io.Writer) {
	heading(w, 2, "They connect and attest to each other")
	fmt.Fprintf(w, "  %9s   %-16s  %-13s  %7s\n", "time", "who", "what", "size")
	for _, s := range r.steps {
		_ = show.WriteStep(w, s) // w is a buffer
	}
	fmt.Fprintf(w, "\n  The proof cost %d frames with %d bytes. TCP, TLS and the proof together took %.1f ms.\n",
		r.Exchange.Frames, r.Exchange.Bytes, r.Exchange.Milliseconds)
}

func (r *Report) writeLearned(w io.Writer) {
	heading(w, 3, "What each side now knows of the other")
	table(w, "", "the client of the server", "the server of the client")
	left, right := r.Client.Rows(), r.Server.Rows()
	for i := range min(len(left), len(right)) {
		table(w, left[i].Name, left[i].Value, right[i].Value)
	}
	fmt.Fprintf(w, "\n  client -> server   %q\n  server -> client   %q\n", r.Message, r.Reply)
}

func (r *Report) writeAttacks(w io.Writer) {
	heading(w, 4, "Attacks, each on a connection of its own")
	refused := 0
	for _, a := range r.Attacks {
		fmt.Fprintf(w, "  %s\n", strings.ToUpper(a.Name))
		line := func(name, value string) { fmt.Fprintf(w, "    %-14s %s\n", name, show.Line(value, 80)) }
		line("attacker has", a.Has)
		line("and", a.Does)
		if a.Outcome != Refused {
			line("ACCEPTED", "by the "+a.Victim+". This must not happen.")
			fmt.Fprintln(w)
			continue
		}
		refused++
		line("refused", fmt.Sprintf("by the %s, at the step %q", a.Victim, a.Step))
		for i, reason := range a.reasons {
			name := ""
			if i == 0 {
				name = a.Victim + " says"
			}
			line(name, reason)
		}
		line("over the wire", a.Alert+", no reason; the connection is closed")
		line("lesson", a.Lesson)
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d of %d attacks refused. The whole demonstration took %s.\n", refused, len(r.Attacks), show.Milliseconds(r.took))
}
