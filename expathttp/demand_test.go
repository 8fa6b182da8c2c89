package expathttp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
)

var errMine = errors.New("not on a Sunday")

// kind is a string type, as claims often have.
type kind string

// The demands as table: what the log hook is told, and that a peer sees nothing of
// it. Every case is one request over an attested connection; the toy's claims are
// name and size.
func TestRequire(t *testing.T) {
	t.Parallel()
	yes := func(*attestation.Result) error { return nil }
	affirming, warning := Tier(attestation.TierAffirming), Tier(attestation.TierWarning)
	for _, tc := range []struct {
		name    string
		demands []Demand
		warns   bool
		want    error // nil: let through
		reason  string
	}{
		{"any verdict", nil, false, nil, ""},
		{"any verdict, warning", nil, true, nil, ""},
		{"affirming", []Demand{affirming}, false, nil, ""},
		{"affirming, got warning", []Demand{affirming}, true, ErrDemand, "trust tier is warning, want affirming"},
		{"warning", []Demand{warning}, true, nil, ""},
		{"warning, got affirming", []Demand{warning}, false, nil, ""},
		{"tier none", []Demand{Tier(attestation.TierNone)}, false, ErrConfig, "tier none cannot be demanded"},
		{"tier contraindicated", []Demand{Tier(attestation.TierContraindicated)}, true, ErrConfig, "tier contraindicated"},
		{"claim", []Demand{named("alice")}, false, nil, ""},
		{"claim, string type", []Demand{Claim("toy", "name", kind("alice"))}, false, nil, ""},
		{"claim, number", []Demand{Claim("toy", "size", 5)}, false, nil, ""},
		{"claim, number of another type", []Demand{Claim("toy", "size", float64(5))}, false, nil, ""},
		{"claim, number as string", []Demand{Claim("toy", "size", "5")}, false, ErrDemand, `claim "size" of environment "toy" is not "5"`},
		{"claim, another value", []Demand{named("mallory")}, false, ErrDemand, `claim "name" of environment "toy" is not "mallory"`},
		{"claim, prefix", []Demand{named("alic")}, false, ErrDemand, `is not "alic"`},
		{"claim that is missing", []Demand{Claim("toy", "age", 5)}, false, ErrDemand, `environment "toy" makes no claim "age"`},
		{"claim of another environment", []Demand{Claim("gpu", "name", "alice")}, false, ErrDemand, `no appraisal of an environment "gpu"`},
		{"claim of no environment", []Demand{Claim("", "name", "alice")}, false, ErrDemand, "no appraisal"},
		{"claim without value", []Demand{Claim("toy", "name", nil)}, false, ErrConfig, "no value"},
		{"missing claim without value", []Demand{Claim("toy", "age", nil)}, false, ErrConfig, "no value"},
		{"claim that JSON cannot express", []Demand{Claim("toy", "name", math.NaN())}, false, ErrConfig, "no value"},
		{"predicate", []Demand{yes}, false, nil, ""},
		{"predicate that fails", []Demand{func(*attestation.Result) error { return errMine }}, false, errMine, "not on a Sunday"},
		{"nil", []Demand{nil}, false, ErrConfig, "demand 0 is nil"},
		{"nil among others", []Demand{affirming, nil, yes}, false, ErrConfig, "demand 1 is nil"},
		{"all of them", []Demand{affirming, named("alice"), yes}, false, nil, ""},
		{"the last fails", []Demand{affirming, yes, named("bob")}, false, ErrDemand, `is not "bob"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			denied := make(chan error, 1)
			guard := Require(describe, tc.demands...)
			guard.Denied = func(r *http.Request, reason error) {
				if r.URL.Path != "/guarded" {
					t.Error(r.URL)
				}
				denied <- reason
			}
			cc, sc := configs("alice", "bob")
			sc.Verifier = &toy{warns: tc.warns}
			_, addr := serve(t, sc, guard)
			c, _ := client(t, cc, Options{})
			resp, body, err := get(t, t.Context(), c, "https://"+addr+"/guarded")
			require.NoError(t, err)
			if tc.want == nil {
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Contains(t, body, "alice")
				require.Empty(t, denied)
				return
			}
			require.Equal(t, http.StatusForbidden, resp.StatusCode)
			require.Equal(t, "Forbidden\n", body)
			reason := <-denied
			require.ErrorIs(t, reason, tc.want)
			require.ErrorContains(t, reason, tc.reason)
		})
	}
}

// Nothing that is nil or empty lets a request through.
func TestRequireRefuses(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob")
	_, addr := serve(t, sc, Require(nil))
	c, _ := client(t, cc, Options{})
	resp, _, err := get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	sc = sc.Clone()
	sc.Verifier = nil // the client is attested by nobody
	_, addr = serve(t, sc, Require(describe))
	resp, _, err = get(t, t.Context(), c, "https://"+addr+"/")
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	for _, ctx := range []context.Context{context.Background(), context.WithValue(context.Background(), stateKey{}, "x"), expat.ConnContext(context.Background(), nil)} {
		for _, guard := range []*Guard{{}, Require(nil), Require(describe), Require(describe, nil)} {
			w := httptest.NewRecorder()
			guard.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
			require.Equal(t, http.StatusForbidden, w.Code)
		}
		_, ok := FromContext(ctx)
		require.False(t, ok)
	}
	require.ErrorIs(t, meets(nil, nil), ErrNotAttested)
}

// Routes of one mux have demands of their own.
func TestRoutes(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/open", describe)
	mux.Handle("/alice", Require(describe, named("alice")))
	mux.Handle("/carol", Require(describe, named("carol")))
	cc, sc := configs("alice", "bob")
	_, addr := serve(t, sc, mux)
	c, _ := client(t, cc, Options{})
	for path, want := range map[string]int{"/open": 200, "/alice": 200, "/carol": 403, "/other": 404} {
		resp, _, err := get(t, t.Context(), c, fmt.Sprintf("https://%s%s", addr, path))
		require.NoError(t, err)
		require.Equal(t, want, resp.StatusCode, path)
	}
}
