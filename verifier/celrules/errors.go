package celrules

import (
	"errors"
	"fmt"
)

// The reasons for which an expression is refused by [Compile].
var (
	// ErrName: it has no name.
	ErrName = errors.New("the expression has no name")
	// ErrSize: it is too long.
	ErrSize = errors.New("the expression is too long")
	// ErrExpression: it does not follow the language, or names what there is not.
	ErrExpression = errors.New("the expression is not valid")
	// ErrType: it says something else than yes or no.
	ErrType = errors.New("the expression is not of type bool")
	// ErrCost: evaluating it can take too long.
	ErrCost = errors.New("the expression is too expensive")
)

// The reasons for which a compiled rule fails.
var (
	// ErrFalse: the expression is false.
	ErrFalse = errors.New("the expression is false")
	// ErrEvaluation: the expression has no value, as one that looks up a key that
	// is not there, or that costs too much.
	ErrEvaluation = errors.New("the expression has no value")
)

// Error is one thing that is wrong with an expression.
type Error struct {
	Name         string // of the rule
	Line, Column int    // from 1; 0 where it is the whole
	Err          error  // wraps one of the reasons
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("rule %q: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("rule %q, line %d, column %d: %v", e.Name, e.Line, e.Column, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
