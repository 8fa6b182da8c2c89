package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrFile: a configuration file cannot be used. Every error of [Load] wraps it.
var ErrFile = errors.New("configuration file is not usable")

// maxErrors bounds the errors of one file.
const maxErrors = 100

// Error is one thing that is wrong with a configuration file.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 where the file as a whole is meant
	Path         string // of the field, as in proxies[0].listen; "" for the file
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

// Errors are all errors of a file.
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

// sorted puts errors in the order of the file, and leaves out what is too much to
// read.
func sorted(all Errors) Errors {
	slices.SortStableFunc(all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Path, b.Path))
	})
	if more := len(all) - maxErrors; more > 0 {
		all = append(all[:maxErrors:maxErrors], &Error{
			File: all[0].File, Problem: fmt.Sprintf("%d more errors are not shown", more), Remedy: "correct these first",
		})
	}
	return all
}
