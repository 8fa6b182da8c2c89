package veraisonfake

import (
	"bytes"
	"net/http"
	"strings"
)

// Fault is what is wrong with a service.
type Fault int32

// The faults.
const (
	None          Fault = iota
	Slow                // no answer until the caller goes away
	Down                // 503
	Drops               // the connection is closed in place of an answer
	Garbage             // 200 and something that is no session
	HTML                // 200 and a web page, as of a captive portal
	Huge                // an answer without end
	Redirect            // 307 to another origin
	OtherOrigin         // the session's Location is of another origin
	OtherNonce          // the session is for another nonce
	OtherEvidence       // the result is that of the session before
	Forever             // 202, and never a result
	Unsigned            // the EAR's signature is wrong
	Incapable           // 500 in answer to Evidence
)

// Elsewhere is where Redirect and OtherOrigin point to.
const Elsewhere = "https://elsewhere.test/challenge-response/v1/session/1"

// Set switches a fault on, or all off with None.
func (s *Service) Set(f Fault) { s.fault.Store(int32(f)) }

func (s *Service) faulty() Fault { return Fault(s.fault.Load()) }

// misbehave answers in place of the service, if it is to.
func (s *Service) misbehave(w http.ResponseWriter, r *http.Request) bool {
	switch s.faulty() {
	case Slow:
		_, _ = http.MaxBytesReader(w, r.Body, 1<<20).Read(make([]byte, 1)) // lets net/http see the caller leave
		<-r.Context().Done()
	case Down:
		w.Header().Set("Retry-After", "0")
		problem(w, http.StatusServiceUnavailable, "maintenance")
	case Drops:
		panic(http.ErrAbortHandler)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>please log in</html>"))
	case Huge:
		w.Header().Set("Content-Type", SessionType)
		w.WriteHeader(http.StatusCreated)
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return true
			}
		}
	case Redirect:
		w.Header().Set("Location", Elsewhere)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case Incapable:
		if !strings.HasPrefix(r.URL.Path, sessionPath) {
			return false
		}
		problem(w, http.StatusInternalServerError, "error encountered while processing evidence")
	default:
		return false
	}
	return true
}

func (s *Service) location(own string) string {
	if s.faulty() == OtherOrigin {
		return Elsewhere
	}
	return own
}

// spoil changes an answer.
func (s *Service) spoil(b []byte) []byte {
	switch s.faulty() {
	case Garbage:
		return b[:len(b)/2]
	case OtherNonce:
		return bytes.Replace(b, []byte(`"nonce":"`), []byte(`"nonce":"AAAA`), 1)
	}
	return b
}
