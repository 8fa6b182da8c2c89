package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrTooMany: the file has more errors than are reported.
var ErrTooMany = errors.New("more is wrong with the file than is shown")

// maxErrors bounds the errors of one file.
const maxErrors = 100

// Error is one thing that is wrong with a file.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 where the file as a whole is meant
	Path         string // of the field, as in environments[0].roots; "" for the file
	Problem      string
	Remedy       string // what to write instead
	Err          error  // the reason as another package states it, or nil

	kind error // see [File]
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Problem)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the kind of the file and Err.
func (e *Error) Unwrap() []error {
	return slices.DeleteFunc([]error{e.kind, e.Err}, func(err error) bool { return err == nil })
}

// Errors are all errors of a file, in its order.
type Errors []*Error

func (all Errors) Error() string {
	lines := make([]string, 0, len(all))
	for _, e := range all {
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns them all.
func (all Errors) Unwrap() []error {
	out := make([]error, 0, len(all))
	for _, e := range all {
		out = append(out, e)
	}
	return out
}

// List returns the errors of a file of a kind in err, nil if there are none.
func List(err, kind error) []*Error {
	if all := Errors(nil); errors.As(err, &all) && errors.Is(all, kind) {
		return all
	}
	return nil
}

// First makes one line of the errors of a file: the first of them, and the command that
// shows the others. Another error stays as it is.
func First(err error, command string) error {
	all := Errors(nil)
	if !errors.As(err, &all) || len(all) < 2 {
		return err
	}
	return fmt.Errorf("%w (and %d more: %s)", all[0], len(all)-1, command)
}

// Err is nil or [Errors], all that was reported, without what is too much to read.
func (f *File) Err() error {
	if len(f.Errors) == 0 {
		return nil
	}
	all := slices.Clone(f.Errors)
	slices.SortStableFunc(all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Problem, b.Problem))
	})
	if more := len(all) - maxErrors; more > 0 {
		all = append(all[:maxErrors], &Error{
			File: f.Name, Problem: fmt.Sprintf("%d more errors are not shown", more), Remedy: "correct these first", Err: ErrTooMany, kind: f.Kind,
		})
	}
	return all
}
