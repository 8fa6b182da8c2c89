package demo

import (
	"github.com/expat-go/expat/cmd/expat/internal/picture"
	"github.com/expat-go/expat/cmd/expat/internal/show"
)

// Page shows the honest connection and the attacks as a page.
func (r *Report) Page() picture.Page {
	p := picture.Page{
		Title:    "expat: two TEEs prove to each other what they are",
		Subtitle: "Over TLS 1.3 on 127.0.0.1. The protocol and the checks are real; the TEEs are simulated and protect nothing.",
		Steps:    r.steps,
		Learned:  []*show.Learned{r.Client, r.Server},
	}
	for _, a := range r.Attacks {
		p.Attacks = append(p.Attacks, picture.Attack{Name: a.Name, Does: a.Has + "; " + a.Does, Outcome: a.Outcome, Step: a.Step, Lesson: a.Lesson})
	}
	return p
}
