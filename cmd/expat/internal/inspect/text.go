package inspect

import (
	"fmt"
	"io"
	"strings"

	"github.com/expat-go/expat/cmd/expat/internal/show"
)

// WriteText writes for people: what it is, that nothing was verified, and the fields
// of each part as a table.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	from := ""
	if r.Encoding != "" && r.Encoding != "binary" {
		from = ", from " + r.Encoding
	}
	fmt.Fprintf(&b, "%s, %d bytes%s\n", show.Line(r.Kind, 0), r.Size, from)
	for _, sentence := range []string{r.About, r.Note} {
		if sentence != "" {
			fmt.Fprintln(&b, sentence)
		}
	}
	r.table(&b, "  ")
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) table(b *strings.Builder, indent string) {
	width := 0
	for _, f := range r.Fields {
		width = max(width, len(f.Name))
	}
	for _, f := range r.Fields {
		fmt.Fprintf(b, "%s%-*s  %s\n", indent, width, show.Line(f.Name, 0), show.Line(f.Value, 0))
	}
	for _, p := range r.Parts {
		fmt.Fprintf(b, "%s%s, %d bytes\n", indent, show.Line(p.Kind, 0), p.Size)
		p.table(b, indent+"  ")
	}
}
