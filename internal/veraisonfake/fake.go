// Package veraisonfake is a stand-in for the verification service of Veraison
// (github.com/veraison/services), for tests: the real one cannot be a dependency.
//
// It behaves as that service's challenge-response API was seen to, and as its source
// says:
//
//   - a nonce of 8 to 64 bytes in base64url, echoed without padding; nonceSize in its
//     place, not beside it;
//   - newSession answers 201 with a relative Location;
//   - Evidence is answered 200 with a session whose result is an EAR, a JWT in a JSON
//     string, or 202 and the result comes with GET; the session repeats the Evidence;
//   - Evidence that is not good, a wrong nonce included, is answered 200 with a signed
//     EAR whose status is contraindicated;
//   - the EAR is that of github.com/veraison/ear: eat_nonce in *padded* base64url, no
//     exp, no kid, and a key attestation only where the scheme makes one;
//   - an unknown session is 404, an unknown media type 415, both problem+json.
//
// In one thing it can differ: [Options.Issuer] adds iss, which the real service's EAR
// lacks. Beside that it misbehaves on demand, see [Fault].
package veraisonfake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SessionType is the media type of a session.
const SessionType = "application/vnd.veraison.challenge-response-session+json"

const (
	newSession  = "/challenge-response/v1/newSession"
	sessionPath = "/challenge-response/v1/session/"
	sessionTTL  = 150 * time.Second
)

// Options configure a [Service].
type Options struct {
	Key        *ecdsa.PrivateKey // P-256, signs the EARs
	Issuer     string            // iss; "": none, as the real service
	MediaTypes []string
	// Good tells whether Evidence is acceptable and carries the nonce.
	Good func(nonce []byte, mediaType string, evidence []byte) bool
	// AttestedKey returns the key that Evidence vouches for, nil where the scheme
	// makes no key attestation.
	AttestedKey func(evidence []byte) crypto.PublicKey
	// Polls is how many GETs find a session still processing; 0 is an answer at once.
	Polls int
	// Now dates the EARs. Nil: time.Now.
	Now func() time.Time
}

// Service is the fake. It is safe for concurrent use.
type Service struct {
	o     Options
	fault atomic.Int32

	mu       sync.Mutex
	sessions map[string]*session
	last     []byte // nonce of the session before
	stats    Stats
}

// Stats counts what the service saw.
type Stats struct {
	Requests, Sessions, Appraisals, Deleted int
	InFlight, MostInFlight                  int // requests
	Authorization, Key                      string
}

type session struct {
	Status   string    `json:"status"`
	Nonce    string    `json:"nonce"`
	Expiry   time.Time `json:"expiry"`
	Accept   []string  `json:"accept"`
	Evidence *blob     `json:"evidence,omitempty"`
	Result   *string   `json:"result,omitempty"`

	raw   []byte
	polls int
}

type blob struct {
	Type  string `json:"type"`
	Value []byte `json:"value"`
}

// New makes a Service.
func New(o Options) (*Service, error) {
	if o.Key == nil || o.Good == nil || len(o.MediaTypes) == 0 {
		return nil, errors.New("veraisonfake: Key, Good and MediaTypes are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, sessions: make(map[string]*session)}, nil
}

// Stats returns what was counted so far.
func (s *Service) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Open returns how many sessions are kept.
func (s *Service) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// ServeHTTP answers one request, or misbehaves.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.enter(r)
	defer s.leave()
	if s.misbehave(w, r) {
		return
	}
	id, isSession := strings.CutPrefix(r.URL.Path, sessionPath)
	switch {
	case r.URL.Path == newSession && r.Method == http.MethodPost:
		s.open(w, r)
	case isSession && r.Method == http.MethodPost:
		s.submit(w, r, id)
	case isSession && r.Method == http.MethodGet:
		s.get(w, id)
	case isSession && r.Method == http.MethodDelete:
		s.delete(w, id)
	default:
		problem(w, http.StatusNotFound, "page not found")
	}
}

func (s *Service) enter(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	s.stats.InFlight++
	s.stats.MostInFlight = max(s.stats.MostInFlight, s.stats.InFlight)
	s.stats.Authorization = r.Header.Get("Authorization")
	if r.URL.Query().Has("key") {
		s.stats.Key = r.URL.Query().Get("key")
	}
}

func (s *Service) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.InFlight--
}

// nonce reads the query of newSession.
func nonce(r *http.Request) ([]byte, error) {
	given, size := r.URL.Query().Get("nonce"), r.URL.Query().Get("nonceSize")
	switch {
	case given != "" && size != "":
		return nil, errors.New("nonce and nonceSize are mutually exclusive")
	case given != "":
		b, err := base64.RawURLEncoding.DecodeString(given)
		if err != nil {
			b, err = base64.URLEncoding.DecodeString(given)
		}
		if err != nil {
			return nil, errors.New("nonce must be valid base64")
		}
		if len(b) < 8 || len(b) > 64 {
			return nil, fmt.Errorf("nonce must be between 8 and 64 bytes long; got %d", len(b))
		}
		return b, nil
	case size == "":
		size = "32"
	}
	n, err := strconv.ParseUint(size, 10, 8)
	if err != nil || n < 8 || n > 64 {
		return nil, errors.New("nonceSize must be in range 8..64")
	}
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b, nil
}

func (s *Service) open(w http.ResponseWriter, r *http.Request) {
	raw, err := nonce(r)
	if err != nil {
		problem(w, http.StatusBadRequest, "failed handling nonce request: "+err.Error())
		return
	}
	id := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &session{
		Status: "waiting", Nonce: base64.RawURLEncoding.EncodeToString(raw), raw: raw,
		Expiry: s.o.Now().Add(sessionTTL), Accept: s.o.MediaTypes, polls: s.o.Polls,
	}
	s.sessions[id] = one
	s.stats.Sessions++
	w.Header().Set("Location", s.location("session/"+id))
	s.answer(w, http.StatusCreated, one)
}

func (s *Service) submit(w http.ResponseWriter, r *http.Request, id string) {
	evidence, err := io.ReadAll(r.Body)
	mediaType := r.Header.Get("Content-Type")
	switch {
	case err != nil || len(evidence) == 0:
		problem(w, http.StatusBadRequest, "unable to read evidence from the request body")
		return
	case !slices.Contains(s.o.MediaTypes, mediaType):
		w.Header().Set("Accept", strings.Join(s.o.MediaTypes, ", "))
		problem(w, http.StatusUnsupportedMediaType, "no active plugin found for "+mediaType)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one, there := s.sessions[id]
	if !there {
		problem(w, http.StatusNotFound, "session not found")
		return
	}
	s.stats.Appraisals++
	one.Evidence = &blob{mediaType, evidence}
	token, err := s.appraise(one)
	if err != nil {
		one.Status = "failed"
		problem(w, http.StatusInternalServerError, "error encountered while processing evidence")
		return
	}
	one.Result = &token
	s.last = one.raw
	if one.polls > 0 || s.faulty() == Forever {
		waiting := *one
		waiting.Status, waiting.Result = "processing", nil
		s.answer(w, http.StatusAccepted, &waiting)
		return
	}
	one.Status = "complete"
	s.answer(w, http.StatusOK, one)
}

func (s *Service) get(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, there := s.sessions[id]
	if !there {
		problem(w, http.StatusNotFound, "session not found")
		return
	}
	shown := *one
	switch {
	case one.Result == nil:
	case one.polls > 1 || s.faulty() == Forever:
		one.polls--
		shown.Status, shown.Result = "processing", nil
	default:
		shown.Status = "complete"
	}
	s.answer(w, http.StatusOK, &shown)
}

func (s *Service) delete(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.sessions[id]; !there {
		problem(w, http.StatusInternalServerError, "session not found")
		return
	}
	delete(s.sessions, id)
	s.stats.Deleted++
	w.WriteHeader(http.StatusNoContent)
}

func (s *Service) answer(w http.ResponseWriter, status int, one *session) {
	b, err := json.Marshal(one)
	if err != nil {
		problem(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("Content-Type", SessionType)
	w.WriteHeader(status)
	_, _ = w.Write(s.spoil(b))
}

func problem(w http.ResponseWriter, status int, detail string) {
	b, _ := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
