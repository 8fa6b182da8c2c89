// Package picture draws what happened on an attested connection as one HTML page:
// a sequence of frames and acts with their sizes, times and verdicts. The page needs
// no network, no script and no other file.
package picture

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/expat-go/expat/cmd/expat/internal/show"
)

// Page is what a page shows. Texts may come from the peer: they are escaped, and
// cut where they have no bounds of their own.
type Page struct {
	Title    string
	Subtitle string
	Steps    []show.Step
	Error    string // why the connection failed; "" if it is open
	Learned  []*show.Learned
	Attacks  []Attack
}

// Attack is one attempt that was made on the same code.
type Attack struct {
	Name, Does, Outcome, Step, Lesson string
}

// The figure, in pixels. The two sides are lines from top to bottom.
const (
	width      = 1060
	rowHeight  = 46
	top        = 56
	bottom     = 16
	timeX      = 8
	clientX    = 240
	serverX    = 880
	boxWidth   = 288
	boxHeight  = 36
	arrowInset = 6  // of the tip from the line of its side
	arrowHead  = 10 // length of the tip
)

// figure is a page with every step in its place.
type figure struct {
	Page
	Width, Height           int
	ClientX, ServerX, TimeX int
	Bottom                  int // where the lines of the sides end
	BoxWidth, BoxHeight     int
	Rows                    []row
	Frames, Bytes           int
}

// row is one step.
type row struct {
	Time, Label, Size, Note string
	Good, Bad               bool
	Frame                   bool // it crossed the wire
	Y, LabelY, NoteY        int  // middle, and the two lines of text
	MiddleX                 int
	FromX, ToX              int // of an arrow
	Tip                     string
	BoxX, BoxY              int // of an act
}

// The texts of a page are no longer than this, in characters.
const (
	maxText  = 120
	maxError = 600
)

func layout(p Page) figure {
	p.Error = show.Line(p.Error, maxError)
	end := top + len(p.Steps)*rowHeight
	f := figure{
		Page: p, Width: width, Height: end + bottom, Bottom: end,
		ClientX: clientX, ServerX: serverX, TimeX: timeX, BoxWidth: boxWidth, BoxHeight: boxHeight,
	}
	for i, s := range p.Steps {
		r := place(s, top+i*rowHeight+rowHeight/2)
		if r.Frame {
			f.Frames++
			f.Bytes += s.Bytes
		}
		f.Rows = append(f.Rows, r)
	}
	return f
}

// place gives a step its place at the height y.
func place(s show.Step, y int) row {
	r := row{
		Time: show.Milliseconds(s.At), Label: show.Line(s.What, maxText), Note: show.Line(s.Note, maxText),
		Good: s.What == "open", Bad: s.What == "closed" || s.What == "ALERT",
		Y: y, LabelY: y - 4, NoteY: y + 12, BoxY: y - boxHeight/2,
	}
	switch {
	case s.Bytes > 0:
		r.Size = fmt.Sprintf("%d bytes", s.Bytes)
	case s.Took > 0:
		r.Size = show.Milliseconds(s.Took)
	}
	switch s.Who {
	case "client -> server":
		r.arrow(clientX, serverX-arrowInset, -arrowHead)
	case "server -> client":
		r.arrow(serverX, clientX+arrowInset, arrowHead)
	case "server":
		r.MiddleX = serverX
	default:
		r.MiddleX = clientX
	}
	r.BoxX = r.MiddleX - boxWidth/2
	return r
}

func (r *row) arrow(from, to, head int) {
	r.Frame, r.FromX, r.ToX, r.MiddleX = true, from, to, (clientX+serverX)/2
	r.Tip = fmt.Sprintf("%d,%d %d,%d %d,%d", to, r.Y, to+head, r.Y-5, to+head, r.Y+5)
}

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// Write writes the page.
func Write(w io.Writer, p Page) error { return page.Execute(w, layout(p)) }
