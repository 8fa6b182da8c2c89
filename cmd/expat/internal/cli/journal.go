package cli

import (
	"fmt"
	"io"
	"sync"

	"github.com/expat-go/expat/cmd/expat/internal/show"
)

// journal is what a person reads of one connection: lines that several goroutines
// write, one after the other, and none after its end.
type journal struct {
	w io.Writer

	mu       sync.Mutex
	over     bool
	renewals renewals
}

// renewals are how often each side has proved anew what it is, and was accepted.
type renewals struct {
	Server int `json:"server"`
	Client int `json:"client"`
}

// step writes a step.
func (j *journal) step(s show.Step) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return
	}
	if s.What == show.Renewed {
		if s.Who == "client" { // who asked
			j.renewals.Server++
		} else {
			j.renewals.Client++
		}
	}
	_ = show.WriteStep(j.w, s)
}

// learned writes what is known of the server.
func (j *journal) learned(l *show.Learned) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, row := range l.Rows() {
		fmt.Fprintf(j.w, "  %-16s %s\n", row.Name, row.Value)
	}
}

// end ends it.
func (j *journal) end() renewals {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over = true
	return j.renewals
}
