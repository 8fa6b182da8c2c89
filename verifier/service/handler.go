package service

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/bounded"
	"github.com/expat-go/expat/verifier/ear"
)

// Handler is the service. It is safe for concurrent use.
type Handler struct {
	o        Options
	jwks     []byte
	mux      *http.ServeMux
	slots    chan struct{} // one for each appraisal under way
	draining atomic.Bool
}

const sessionPath = "/challenge-response/v1/session/"

// location of a session is relative to newSession: the service can lie below a path.
const location = "session/"

// NewHandler makes a Handler. The error wraps [ErrConfig].
func NewHandler(o Options) (*Handler, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	jwks, err := o.Issuer.JWKS(o.Published...)
	if err != nil {
		return nil, errors.Join(ErrConfig, err)
	}
	h := &Handler{o: o, jwks: jwks, mux: http.NewServeMux(), slots: make(chan struct{}, o.MaxInFlight)}
	h.mux.HandleFunc("POST /challenge-response/v1/newSession", h.open)
	h.mux.HandleFunc("POST "+sessionPath+"{session}", h.submit)
	h.mux.HandleFunc("GET "+sessionPath+"{session}", h.show)
	h.mux.HandleFunc("DELETE "+sessionPath+"{session}", h.end)
	h.mux.HandleFunc("GET /.well-known/jwks.json", h.keys)
	h.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	h.mux.HandleFunc("GET /readyz", h.ready)
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.mux.ServeHTTP(w, r)
}

// Drain makes /readyz say no, so that no new work comes; the rest is served on.
func (h *Handler) Drain() { h.draining.Store(true) }

func (h *Handler) ready(w http.ResponseWriter, _ *http.Request) {
	if h.draining.Load() {
		problem(w, http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) keys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = w.Write(h.jwks)
}

// open makes a session.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) {
	s, err := parseQuery(r.URL.RawQuery, h.o.Now().Add(h.o.SessionLifetime))
	if err != nil {
		problem(w, http.StatusBadRequest)
		return
	}
	w.Header().Set("Location", location+s.token())
	h.answer(w, http.StatusCreated, s, "waiting", nil)
}

// find reads the session of a request, or answers that there is none.
func (h *Handler) find(w http.ResponseWriter, r *http.Request) *session {
	s, err := parseToken(r.PathValue("session"), h.o.Now())
	if err != nil {
		problem(w, http.StatusNotFound)
		return nil
	}
	return s
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request) {
	if s := h.find(w, r); s != nil {
		h.answer(w, http.StatusOK, s, "waiting", nil)
	}
}

func (h *Handler) end(w http.ResponseWriter, r *http.Request) {
	if h.find(w, r) != nil {
		w.WriteHeader(http.StatusNoContent)
	}
}

// submit appraises the Evidence in the body.
func (h *Handler) submit(w http.ResponseWriter, r *http.Request) {
	s := h.find(w, r)
	if s == nil {
		return
	}
	m, status := read(w, r, h.o.Verifier.MediaTypes())
	if status != 0 {
		problem(w, status)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
	defer cancel()
	began := h.o.Now()
	v, err := bounded.Call(ctx, func() (verdict, error) {
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
			return h.appraise(ctx, s, m)
		default:
			return verdict{}, errBusy
		}
	})
	if err != nil {
		h.undecided(w, err)
		return
	}
	h.o.Logger.Info("appraised", "outcome", v.outcome, "took", h.o.Now().Sub(began))
	if v.token == nil {
		problem(w, http.StatusBadRequest)
		return
	}
	h.answer(w, http.StatusOK, s, "complete", v.token)
}

// errBusy: as many appraisals as allowed are under way.
var errBusy = errors.New("too many appraisals at a time")

// verdict is what came of Evidence, and the EAR that says so; nil where the Evidence
// cannot be read.
type verdict struct {
	outcome string
	token   []byte
}

// appraise asks the Verifier, whose answer must be for the session's binding, and signs
// what it says.
func (h *Handler) appraise(ctx context.Context, s *session, m *cmw.Message) (verdict, error) {
	r, err := h.o.Verifier.Appraise(ctx, s.binding, m)
	if err == nil && !r.Answers(s.binding) {
		err = attestation.ErrWrongResult
	}
	v := verdict{outcome: "rejected"}
	var statement ear.Statement
	var no *attestation.RejectedError
	switch {
	case err == nil:
		v.outcome, statement = "accepted", ear.FromResult(r)
	case errors.As(err, &no):
		statement = ear.FromRejection(s.binding, no)
	case errors.Is(err, attestation.ErrRejected):
		statement = ear.FromRejection(s.binding, &attestation.RejectedError{Err: err})
	case errors.Is(err, attestation.ErrMalformed):
		return verdict{outcome: "malformed"}, nil
	default:
		return verdict{}, err
	}
	statement.Audience = h.o.Audience
	v.token, err = h.o.Issuer.Issue(ctx, statement)
	return v, err
}

// undecided answers that there is no verdict now. The reason stays here.
func (h *Handler) undecided(w http.ResponseWriter, reason error) {
	h.o.Logger.Warn("no verdict", "reason", reason.Error())
	w.Header().Set("Retry-After", "1")
	problem(w, http.StatusServiceUnavailable)
}

// read reads the Evidence of a request, or says by which HTTP status it is refused.
func read(w http.ResponseWriter, r *http.Request, accepted []string) (*cmw.Message, int) {
	mediaType := r.Header.Get("Content-Type")
	base, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return nil, http.StatusUnsupportedMediaType
	}
	if r.ContentLength > MaxEvidence {
		return nil, http.StatusRequestEntityTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxEvidence))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, http.StatusBadRequest
	}
	var m *cmw.Message
	if base == "application/cmw+cbor" || base == "application/cmw+json" {
		m, err = cmw.Decode(body)
	} else {
		m, err = cmw.NewRecord(mediaType, body, cmw.Evidence)
	}
	switch {
	case errors.Is(err, cmw.ErrMediaType):
		return nil, http.StatusUnsupportedMediaType
	case err != nil:
		return nil, http.StatusBadRequest
	}
	for _, leaf := range m.Leaves() {
		if len(attestation.Common([]string{leaf.MediaType}, accepted)) == 0 {
			return nil, http.StatusUnsupportedMediaType
		}
	}
	return m, 0
}

// answer writes a session. Evidence is not repeated.
func (h *Handler) answer(w http.ResponseWriter, status int, s *session, state string, token []byte) {
	out := struct {
		Status string    `json:"status"`
		Nonce  string    `json:"nonce"`
		Expiry time.Time `json:"expiry"`
		Accept []string  `json:"accept"`
		Result string    `json:"result,omitempty"`
	}{state, encode(s.binder), s.expiry.UTC(), h.o.Verifier.MediaTypes(), string(token)}
	write(w, status, sessionType, out)
}

// problem writes an error (RFC 9457) that tells no more than its status.
func problem(w http.ResponseWriter, status int) {
	write(w, status, "application/problem+json", struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
	}{"about:blank", http.StatusText(status), status})
}

func write(w http.ResponseWriter, status int, mediaType string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // nothing here can fail to encode
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
