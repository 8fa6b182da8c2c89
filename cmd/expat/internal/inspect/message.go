package inspect

import (
	"context"
	"strings"

	"github.com/expat-go/expat/cmw"
)

// message shows a CMW and what is in it.
func message(ctx context.Context, m *cmw.Message, size int, o Options) *Report {
	r := newReport("CMW (RFC 9999): "+m.Kind().String(), size)
	r.About = "A conceptual message of remote attestation in its wrapper, which says by media types what is inside."
	if t := m.CollectionType(); t != "" {
		r.add("collection type", "%s", t)
	}
	leaves := m.Leaves()
	r.add("leaves", "%d", len(leaves))
	for _, leaf := range leaves {
		r.part(leafReport(ctx, leaf, o))
	}
	return r
}

// leafReport shows a value as its media type says.
func leafReport(ctx context.Context, leaf cmw.Leaf, o Options) *Report {
	var r *Report
	for _, p := range platforms(o) {
		if !cmw.SameMediaType(p.extractor.MediaTypes()[0], leaf.MediaType) {
			continue
		}
		var err error
		if r, err = p.read(ctx, leaf.Value, o.At); err != nil {
			r = newReport("Evidence of "+p.name+" that is not of its form", len(leaf.Value))
			r.add("error", "%v", err)
		}
	}
	if r == nil {
		r = newReport("value of a type that is not known here", len(leaf.Value))
	}
	head := []Field{{"media type", leaf.MediaType}, {"indicator", leaf.Indicator.String()}}
	var path []string
	for _, l := range leaf.Path {
		path = append(path, l.String())
	}
	if path != nil {
		head = append([]Field{{"label", strings.Join(path, "/")}}, head...)
	}
	r.Fields = append(head, r.Fields...)
	return r
}
