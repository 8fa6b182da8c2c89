package evidence

import "errors"

// The reasons for which Evidence cannot be used, found with [errors.Is].
var (
	// ErrFormat: the bytes are not Evidence of that media type.
	ErrFormat = errors.New("malformed Evidence")
	// ErrSignature: the signature is not the signer's over these bytes.
	ErrSignature = errors.New("signature of the Evidence is wrong")
	// ErrChain: the signer's certificates do not lead to a trusted root.
	ErrChain = errors.New("signer of the Evidence is not trusted")
	// ErrRoots: no root was given.
	ErrRoots = errors.New("no roots for Evidence")

	// ErrBinder: the Evidence was made for another connection, request or key.
	ErrBinder = errors.New("the Evidence carries another binder")
	// ErrKeyHash: the Evidence names another key (Section 5.2 of the draft).
	ErrKeyHash = errors.New("the Evidence names another key")
	// ErrKey: the Evidence certifies another key than the authenticator's.
	ErrKey = errors.New("the Evidence certifies another key")
	// ErrReportData: the Evidence was made for another connection, request or
	// key, or names another key.
	ErrReportData = errors.New("the Evidence carries other report data")
	// ErrForm: the Evidence is bound in a form that is not known.
	ErrForm = errors.New("unknown binding form")
)

// Error is the type of the errors that Evidence causes in an [Extractor].
type Error struct {
	Reason error  // ErrFormat, ErrSignature or ErrChain
	Step   string // what was being checked, such as "certificate chain"
	Err    error  // why; never quotes the Evidence
}

func (e *Error) Error() string {
	return e.Reason.Error() + ": " + e.Step + ": " + e.Err.Error()
}

// Unwrap returns the reason and the cause.
func (e *Error) Unwrap() []error { return []error{e.Reason, e.Err} }
