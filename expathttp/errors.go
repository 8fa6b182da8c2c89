package expathttp

import "errors"

// Reasons for which a request is not sent or not served, found with [errors.Is].
// Beside them are those of [expat.Error].
var (
	// ErrConfig: what was passed to NewServer or NewTransport cannot be used.
	ErrConfig = errors.New("expathttp: invalid configuration")
	// ErrNotHTTPS: the URL is not an https URL of a host in ASCII, so no
	// attestation would take place. Redirects end here too.
	ErrNotHTTPS = errors.New("expathttp: only https URLs are attested")
	// ErrNotAttested: there is no attested connection, or this side asked for
	// no attestation on it.
	ErrNotAttested = errors.New("expathttp: the peer is not attested")
	// ErrDemand: the peer is attested, but does not meet a demand.
	ErrDemand = errors.New("expathttp: the peer does not meet a demand")
	// ErrPeers: the connections made for a request led to peers that do not meet
	// its demands, or ended at once; it wraps why the last one did not serve.
	ErrPeers = errors.New("expathttp: no connection leads to a peer that serves the request")
)
