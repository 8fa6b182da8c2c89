package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrFile: a policy file cannot be used. Every error of [Parse] and [Load] wraps it.
var ErrFile = errors.New("policy file is not usable")

// ErrDraft: the file is a draft that no person has confirmed.
var ErrDraft = errors.New("policy file is a draft")

// ErrTooMany: the file has more errors than are reported.
var ErrTooMany = errors.New("more is wrong with the policy file than is shown")

// maxErrors bounds the errors of one file.
const maxErrors = 100

// Error is one thing that is wrong with a policy file.
type Error struct {
	File         string // as given to [Load], or Options.Name
	Line, Column int    // from 1; 0 where the file as a whole is meant
	Path         string // of the field, as in environments[0].roots; "" for the file
	Problem      string
	Remedy       string // what to write instead
	Err          error  // the reason as another package states it, or nil
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

// Unwrap returns ErrFile and Err.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrFile}
	}
	return []error{ErrFile, e.Err}
}

// Errors lists the errors of a file in an error that [Parse] or [Load] returned, in
// the order of the file.
func Errors(err error) []*Error {
	if e, ok := err.(*Error); ok {
		return []*Error{e}
	}
	if e, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*Error
		for _, inner := range e.Unwrap() {
			all = append(all, Errors(inner)...)
		}
		return all
	}
	return nil
}

// join makes one error of all, in the order of the file.
func join(name string, all []*Error) error {
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Problem, b.Problem))
	})
	more := len(all) - maxErrors
	if more > 0 {
		all = append(all[:maxErrors:maxErrors], &Error{
			File: name, Problem: fmt.Sprintf("%d more errors are not shown", more), Remedy: "correct these first", Err: ErrTooMany,
		})
	}
	errs := make([]error, 0, len(all))
	for _, e := range all {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}
