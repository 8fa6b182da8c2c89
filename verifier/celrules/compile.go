package celrules

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"cel.dev/cel-go/cel"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier"
)

// The limits of one expression.
const (
	// MaxText is the length in characters.
	MaxText = 4096
	// MaxCost is the cost of one evaluation in CEL's units, which are steps and
	// tenths of a character that is looked at: some milliseconds.
	MaxCost = 100_000

	maxDepth   = 32 // of parentheses and calls
	maxNesting = 2  // of loops
	maxRegexp  = 1000
	// interruptEvery is the number of turns of a loop after which the context is
	// looked at.
	interruptEvery = 64
)

// Expression is one rule before it is compiled.
type Expression struct {
	Name string // unique within a policy, not empty
	CEL  string // of type bool
}

// Compile makes rules of expressions, which are compiled here and only once. The
// rules are safe for concurrent use. The error joins an [*Error] for everything that
// is wrong with any of them.
func Compile(expressions ...Expression) ([]verifier.Rule, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("celrules: %w", err)
	}
	var rules []verifier.Rule
	var wrong []error
	for _, e := range expressions {
		program, err := compile(env, e)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		rules = append(rules, verifier.Rule{Name: e.Name, Check: check(program)})
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return rules, nil
}

// compile makes one program, checking the text before the parser sees it.
func compile(env *cel.Env, e Expression) (cel.Program, error) {
	if e.Name == "" {
		return nil, &Error{Err: ErrName}
	}
	if n := utf8.RuneCountInString(e.CEL); n > MaxText || len(e.CEL) > 4*MaxText {
		return nil, &Error{Name: e.Name, Err: fmt.Errorf("%w: it has %d characters, %d are allowed", ErrSize, n, MaxText)}
	}
	if !utf8.ValidString(e.CEL) {
		return nil, &Error{Name: e.Name, Err: fmt.Errorf("%w: it is not UTF-8", ErrExpression)}
	}
	ast, issues := env.Compile(e.CEL)
	if issues.Err() != nil {
		var wrong []error
		for _, i := range issues.Errors() {
			w := &Error{Name: e.Name, Err: fmt.Errorf("%w: %s", ErrExpression, i.Message)}
			if l := i.Location; l.Line() > 0 {
				w.Line, w.Column = l.Line(), max(l.Column(), 0)+1
			}
			wrong = append(wrong, w)
		}
		return nil, errors.Join(wrong...)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, &Error{Name: e.Name, Line: 1, Column: 1, Err: fmt.Errorf("%w: it is of type %v", ErrType, t)}
	}
	cost, err := env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, &Error{Name: e.Name, Err: fmt.Errorf("%w: %w", ErrCost, err)}
	}
	if cost.Max > MaxCost {
		return nil, &Error{Name: e.Name, Err: fmt.Errorf("%w: it can cost %d, %d is allowed", ErrCost, cost.Max, MaxCost)}
	}
	program, err := env.Program(ast,
		cel.EvalOptions(cel.OptOptimize),
		cel.CostLimit(MaxCost),
		cel.InterruptCheckFrequency(interruptEvery))
	if err != nil {
		return nil, &Error{Name: e.Name, Err: fmt.Errorf("%w: %w", ErrExpression, err)}
	}
	return program, nil
}

// check evaluates a program over claims.
func check(program cel.Program) func(context.Context, *evidence.Claims) error {
	return func(ctx context.Context, c *evidence.Claims) error {
		out, _, err := program.ContextEval(ctx, &claims{Claims: c})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("%w: %.200s", ErrEvaluation, err.Error())
		case out.Value() != true:
			return ErrFalse
		}
		return nil
	}
}
