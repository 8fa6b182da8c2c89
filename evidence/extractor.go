package evidence

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"
)

// An Extractor reads the Evidence of one platform. It is safe for concurrent
// use, and reaches for no network unless an option of its platform that says so
// was set.
type Extractor interface {
	// MediaTypes lists what Extract reads, not empty.
	MediaTypes() []string
	// Extract checks the format and the signature of value and the chain of
	// the signer to one of roots at the time now, which must not be zero, and
	// returns what value says. It judges nothing else, but lists what a policy
	// of its platform finds wrong ([Claims.Findings]).
	//
	// Every error that value causes is an [*Error] that wraps [ErrFormat],
	// [ErrSignature] or [ErrChain]. Roots that are nil or empty are [ErrRoots].
	// Extract returns when ctx ends, with the cause.
	Extract(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*Claims, error)
}

// CheckRoots is ErrRoots for a pool that is nil or empty: crypto/x509 takes the
// former for the roots of the system.
func CheckRoots(roots *x509.CertPool) error {
	if roots == nil || roots.Equal(x509.NewCertPool()) {
		return fmt.Errorf("%w: name the roots whose Evidence you trust", ErrRoots)
	}
	return nil
}
