package policy

import (
	"errors"

	"github.com/expat-go/expat/internal/strictyaml"
)

// ErrFile: a policy file cannot be used. Every error of [Parse] and [Load] wraps it.
var ErrFile = errors.New("policy file is not usable")

// ErrDraft: the file is a draft that no person has confirmed.
var ErrDraft = errors.New("policy file is a draft")

// ErrTooMany: the file has more errors than are reported.
var ErrTooMany = strictyaml.ErrTooMany

// MaxSize is the largest policy file, and the largest file it names, in bytes.
const MaxSize = strictyaml.MaxSize

// Error is one thing that is wrong with a policy file. Its fields are File, as given to
// [Load] or in Options.Name; Line and Column, from 1, or 0 where the file as a whole is
// meant; Path of the field, as in environments[0].roots, "" for the file; Problem, and
// Remedy, which is what to write instead; and Err, the reason as another package states
// it, or nil. It wraps [ErrFile] and Err.
type Error = strictyaml.Error

// Errors lists the errors of a file in an error that [Parse] or [Load] returned, in
// the order of the file.
func Errors(err error) []*Error { return strictyaml.List(err, ErrFile) }
