// Package bounded calls code that is plugged in and may not keep its promises.
package bounded

import (
	"context"
	"errors"
	"fmt"
)

// Call calls f and returns when f does or ctx ends, whichever is first: code that
// is plugged in may ignore its context, and must not hold up a connection past
// its deadline. f then finishes unobserved. A panic in f becomes an error, as
// nobody could recover it in f's goroutine; its text is left out, for it may
// repeat Evidence.
func Call[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	var zero T
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	ch := make(chan outcome, 1)
	go func() {
		o := outcome{err: errors.New("it ended its goroutine")} // runtime.Goexit
		defer func() {
			if p := recover(); p != nil {
				o = outcome{err: fmt.Errorf("it panicked with a %T", p)}
			}
			ch <- o
		}()
		o.v, o.err = f()
	}()
	select {
	case o := <-ch:
		return o.v, o.err
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
}
