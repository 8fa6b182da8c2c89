package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/expat-go/expat/attestation"
)

var errAttemptTimeout = errors.New("no answer in time")

// exchange is one run of the API: a session, the Evidence, the result.
func (v *Verifier) exchange(ctx context.Context, q *question) (token []byte, err error) {
	caller, began := ctx, time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, v.o.AttemptTimeout, errAttemptTimeout)
	defer cancel()
	where, s, err := v.open(ctx, q)
	if err != nil {
		return nil, v.blame(caller, time.Since(began), err)
	}
	defer v.cleanup(where)
	if q.mediaType != collectionType && len(s.accept) > 0 && !contains(s.accept, q.mediaType) {
		return nil, &Error{Step: StepSession, Err: fmt.Errorf("%w: it does not take %.100q", ErrRefused, q.mediaType)}
	}
	r, err := v.do(ctx, StepEvidence, request{method: http.MethodPost, url: where, mediaType: q.mediaType, body: q.body, limit: q.limit()})
	for err == nil {
		if s, err = v.progress(r, q); err != nil || s.status == statusComplete {
			break
		}
		if !v.wait(ctx, max(v.o.PollInterval, retryAfter(r.header, v.o.Now()))) {
			err = &Error{Step: StepPoll, Err: fmt.Errorf("%w: it is still appraising", ErrUnreachable), final: true}
			break
		}
		r, err = v.do(ctx, StepPoll, request{method: http.MethodGet, url: where, limit: q.limit()})
	}
	if err != nil {
		return nil, v.blame(caller, time.Since(began), err)
	}
	return []byte(s.result), nil
}

// blame marks an error that the end of the caller's context explains: there is no
// time left for another attempt. A caller that left, or whose time ended when the attempt
// had hardly begun, says nothing of the service: peers choose how much time they leave.
func (v *Verifier) blame(caller context.Context, took time.Duration, err error) error {
	var e *Error
	if caller.Err() != nil && errors.As(err, &e) {
		return &Error{
			Step: e.Step, Status: e.Status, Err: fmt.Errorf("%w: %w", e.Err, context.Cause(caller)),
			final: true, left: errors.Is(caller.Err(), context.Canceled) || took < v.o.AttemptTimeout/4,
		}
	}
	return err
}

// open opens a session for the nonce and returns its URL.
func (v *Verifier) open(ctx context.Context, q *question) (*url.URL, *session, error) {
	u := v.base.JoinPath("challenge-response", "v1", "newSession")
	query := url.Values{"nonce": {encodeNonce(q.nonce)}}
	if v.o.SendKey {
		query.Set("key", base64.RawURLEncoding.EncodeToString(q.binding.SPKI()))
	}
	u.RawQuery = query.Encode()
	r, err := v.do(ctx, StepSession, request{method: http.MethodPost, url: u, limit: maxBody})
	if err != nil {
		return nil, nil, err
	}
	if r.status != http.StatusCreated {
		return nil, nil, broken(StepSession, "HTTP status %d in place of 201", r.status)
	}
	s, err := v.session(StepSession, r, q)
	if err != nil {
		return nil, nil, err
	}
	if s.status != statusWaiting {
		return nil, nil, broken(StepSession, "a new session does not wait for Evidence")
	}
	where, err := location(u, r.header)
	return where, s, err
}

// location is where the session is: of the same origin, or Evidence and token would
// go to whom the service names.
func location(from *url.URL, h http.Header) (*url.URL, error) {
	values := h.Values("Location")
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxLocation {
		return nil, broken(StepSession, "not one Location of at most %d bytes", maxLocation)
	}
	u, err := from.Parse(values[0])
	switch {
	case err != nil || u.Opaque != "" || u.User != nil || u.Fragment != "":
		return nil, broken(StepSession, "the Location is not a plain URL")
	case u.Scheme != from.Scheme || u.Hostname() != from.Hostname() || port(u) != port(from):
		return nil, broken(StepSession, "the Location is of another origin")
	}
	return u, nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"https": "443", "http": "80"}[u.Scheme]
}

// session reads a session, and demands that it is about our nonce.
func (v *Verifier) session(step Step, r *reply, q *question) (*session, error) {
	s, err := parseSession(r.body)
	if err != nil {
		return nil, broken(step, "%w", err)
	}
	if !sameNonce(s.nonce, q.nonce) {
		return nil, broken(step, "the session has another nonce than we asked for")
	}
	return s, nil
}

// progress reads what became of the Evidence: the session is complete, or processing.
func (v *Verifier) progress(r *reply, q *question) (*session, error) {
	step := r.step
	if r.status != http.StatusOK && (r.status != http.StatusAccepted || step != StepEvidence) {
		return nil, broken(step, "HTTP status %d in place of 200 or 202", r.status)
	}
	s, err := v.session(step, r, q)
	if err != nil {
		return nil, err
	}
	switch {
	case s.status == statusComplete && r.status == http.StatusOK:
		return s, nil
	case s.status == statusProcessing && (r.status == http.StatusAccepted || step == StepPoll):
		return s, nil
	case s.status == statusFailed:
		return nil, &Error{Step: step, Err: fmt.Errorf("%w: it could not appraise the Evidence", ErrRefused)}
	}
	return nil, broken(step, "the session is %q with HTTP status %d", s.status, r.status)
}

// limit is how much of an answer is read: some services repeat the Evidence in base64.
func (q *question) limit() int { return maxBody + base64.StdEncoding.EncodedLen(len(q.body)) }

// cleanup deletes a session, which may hold the Evidence, beside the appraisal. It is
// left out where as many deletions as attempts are under way: sessions run out.
func (v *Verifier) cleanup(where *url.URL) {
	if v.o.SendKey {
		return
	}
	select {
	case v.cleanups <- struct{}{}:
	default:
		return
	}
	v.pending.Go(func() {
		defer func() { <-v.cleanups }()
		ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
		defer cancel()
		_, _ = v.do(ctx, StepPoll, request{method: http.MethodDelete, url: where, limit: maxBody})
	})
}

// refusal makes the error of an HTTP status that is not a success.
func refusal(step Step, r *http.Response, now time.Time) *Error {
	e := &Error{Step: step, Status: r.StatusCode, Err: ErrRefused}
	switch {
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusBadGateway,
		r.StatusCode == http.StatusServiceUnavailable, r.StatusCode == http.StatusGatewayTimeout:
		e.Err, e.after = ErrUnreachable, retryAfter(r.Header, now)
	case r.StatusCode < 400:
		e.Err = fmt.Errorf("%w: redirects are not followed", ErrProtocol)
	case step == StepEvidence && (r.StatusCode == http.StatusBadRequest || r.StatusCode == http.StatusUnprocessableEntity):
		e.Err = fmt.Errorf("%w: %w", ErrRefused, attestation.ErrMalformed)
	case step == StepEvidence && r.StatusCode == http.StatusUnsupportedMediaType:
		e.Err = fmt.Errorf("%w: %w", ErrRefused, attestation.ErrMediaType)
	}
	return e
}
