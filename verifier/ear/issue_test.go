package ear

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/stretchr/testify/require"
	vear "github.com/veraison/ear"

	"github.com/expat-go/expat/attestation"
)

// The payload, claim by claim; docs/ear.md shows it.
func TestIssuedClaims(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	s := p.statement()
	s.Audience = "https://rp.example"
	parsed, err := parseToken(p.issue(t, s))
	require.NoError(t, err)
	key := base64url.EncodeToString(p.binding.SPKI())
	require.JSONEq(t, `{
	  "eat_profile": "tag:github.com,2023:veraison/ear",
	  "iss": "https://verifier.example",
	  "aud": "https://rp.example",
	  "iat": 1772600767,
	  "exp": 1772604367,
	  "eat_nonce": "BwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	  "ear.verifier-id": {"developer": "https://expat.example", "build": "v1"},
	  "submods": {
	    "tee": {
	      "ear.status": "affirming",
	      "ear.trustworthiness-vector": {
	        "instance-identity": 0, "configuration": 0, "executables": 2, "file-system": 0,
	        "hardware": 2, "runtime-opaque": 0, "storage-opaque": 0, "sourced-data": 0
	      },
	      "ear.appraisal-policy-id": "policy-1",
	      "ear.veraison.annotated-evidence": {"debug": "disabled"},
	      "ear.veraison.policy-claims": {"expat.instance": "01ab"},
	      "ear.veraison.key-attestation": {"akpub": "`+key+`"}
	    }
	  }
	}`, string(parsed.payload))
	header, _, _ := strings.Cut(string(parsed.signed), ".")
	decoded, err := base64url.DecodeString(header)
	require.NoError(t, err)
	require.JSONEq(t, goodHeader, string(decoded))
}

// Others who use the library read our tokens.
func TestLibraryReadsOurs(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.clock.now = time.Now() // the library has no clock to set
	var got vear.AttestationResult
	require.NoError(t, got.Verify(p.issue(t, p.statement()), jwa.ES256(), p.key.Public()))
	require.Equal(t, vear.TrustTierAffirming, *got.Submods["tee"].Status)
	require.Equal(t, base64url.EncodeToString(p.binding.Binder()), *got.Nonce)
	attested, err := got.Submods["tee"].GetKeyAttestation()
	require.NoError(t, err)
	require.True(t, p.attested.PublicKey.Equal(attested))
}

// We read tokens that the library signs: it names neither issuer nor key.
func TestWeReadTheLibrarys(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.clock.now = time.Now().Add(time.Second)
	p.options.AllowUnnamedIssuer = true
	result := vear.NewAttestationResult("tee", "v1", "https://expat.example")
	nonce := base64url.EncodeToString(p.binding.Binder())
	result.Nonce = &nonce
	result.Submods["tee"].TrustVector.Hardware = vear.GenuineHardwareClaim
	result.UpdateStatusFromTrustVector()
	require.NoError(t, result.Submods["tee"].SetKeyAttestation(p.attested.Public()))
	token, err := result.Sign(jwa.ES256(), p.key)
	require.NoError(t, err)
	e, err := p.check(t, token)
	require.NoError(t, err)
	_, err = e.Result(p.binding, ResultOptions{})
	require.NoError(t, err)
}

func TestIssueStatus(t *testing.T) {
	t.Parallel()
	const none, yes, warning, no = attestation.TierNone, attestation.TierAffirming, attestation.TierWarning, attestation.TierContraindicated
	for _, c := range []struct {
		status attestation.Tier
		claim  attestation.TrustClaim
		want   attestation.Tier
	}{
		{yes, 0, yes}, {yes, 31, yes}, {yes, 32, warning}, {yes, 96, no}, {yes, -97, no},
		{warning, 2, warning}, {warning, 96, no}, {no, 2, no},
		{none, 2, none}, {none, 32, none}, {none, 96, none}, {5, 2, none},
	} {
		got := toSubmodule(attestation.Appraisal{Status: c.status, Vector: attestation.TrustVector{FileSystem: c.claim}}, nil)
		require.Equal(t, vear.TrustTier(c.want), *got.Status, "%v with %d", c.status, c.claim)
	}
}

func TestIssueLifetime(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.options.MaxAge = 48 * time.Hour
	for bound, want := range map[time.Duration]time.Duration{
		0: time.Hour, time.Minute: time.Minute, 2 * time.Hour: time.Hour,
		time.Second: time.Second, 2*time.Second - 1: time.Second,
		attestation.ConnectionLifetime: time.Hour,
	} {
		s := p.statement()
		s.Lifetime = bound
		e, err := p.check(t, p.issue(t, s))
		require.NoError(t, err)
		require.Equal(t, want, e.Expires().Sub(start))
	}
}

func TestIssueMisuse(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	many := make([]attestation.Appraisal, maxSubmodules+1)
	for i := range many {
		many[i] = affirming(strings.Repeat("x", i+1))
	}
	deep := any("x")
	for range maxDepth {
		deep = []any{deep}
	}
	with := func(claims map[string]any) Statement {
		a := affirming("tee")
		a.Claims = claims
		return p.statement(a)
	}
	for name, s := range map[string]Statement{
		"no binding":       {Appraisals: []attestation.Appraisal{affirming("tee")}},
		"no appraisal":     {Binding: p.binding},
		"too many":         p.statement(many...),
		"no name":          p.statement(affirming("")),
		"a name twice":     p.statement(affirming("tee"), affirming("tee")),
		"lifetime":         {Binding: p.binding, Appraisals: many[:1], Lifetime: time.Second - 1},
		"claims not JSON":  with(map[string]any{"f": func() {}}),
		"claims too deep":  with(map[string]any{"deep": deep}),
		"claims too large": with(map[string]any{"large": strings.Repeat("x", MaxSize)}),
	} {
		token, err := p.issuer.Issue(context.Background(), s)
		require.ErrorIs(t, err, attestation.ErrMisuse, name)
		require.Nil(t, token, name)
	}
	p.issue(t, p.statement(many[:maxSubmodules]...))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := p.issuer.Issue(ctx, p.statement())
	require.ErrorIs(t, err, context.Canceled)
}

type brokenSigner struct{ crypto.Signer }

var errBroken = errors.New("the HSM is gone")

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errBroken }

// remoteSigner hides the private key's type, as an HSM does.
type remoteSigner struct{ crypto.Signer }

func TestIssueWithSigner(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	for _, c := range []struct {
		key  crypto.Signer
		want error
	}{{remoteSigner{p.key}, nil}, {brokenSigner{p.key}, errBroken}} {
		issuer, err := NewIssuer(IssuerOptions{Key: c.key, KeyID: "k1", Name: issuerName, Developer: "d", Build: "b", Now: p.Now})
		require.NoError(t, err)
		token, err := issuer.Issue(context.Background(), p.statement())
		require.ErrorIs(t, err, c.want)
		if c.want == nil {
			_, err = p.check(t, token)
			require.NoError(t, err)
		}
	}
}

func TestNewIssuerMisuse(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, change := range map[string]func(o *IssuerOptions){
		"no key":      func(o *IssuerOptions) { o.Key = nil },
		"P-384":       func(o *IssuerOptions) { o.Key = p384 },
		"Ed25519":     func(o *IssuerOptions) { o.Key = ed },
		"no name":     func(o *IssuerOptions) { o.Name = "" },
		"developer":   func(o *IssuerOptions) { o.Developer = "" },
		"build":       func(o *IssuerOptions) { o.Build = "" },
		"lifetime":    func(o *IssuerOptions) { o.Lifetime = time.Second - 1 },
		"long key ID": func(o *IssuerOptions) { o.KeyID = strings.Repeat("k", maxKeyID+1) },
	} {
		o := IssuerOptions{Key: newKey(t), Name: "n", Developer: "d", Build: "b"}
		_, err := NewIssuer(o)
		require.NoError(t, err)
		change(&o)
		_, err = NewIssuer(o)
		require.ErrorIs(t, err, attestation.ErrMisuse, name)
	}
}

func TestFromResult(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	r, err := attestation.NewResult(p.binding, attestation.ResultOptions{Verifier: "v", Appraisals: []attestation.Appraisal{affirming("tee")}, Lifetime: time.Minute})
	require.NoError(t, err)
	require.Equal(t, Statement{Binding: p.binding, Appraisals: []attestation.Appraisal{affirming("tee")}, Lifetime: time.Minute}, FromResult(r))
}

// A no is never stated as something that a relying party takes for a yes.
func TestFromRejection(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	p.options.AcceptWarning = true
	with := func(name string, tier attestation.Tier) attestation.Appraisal {
		return attestation.Appraisal{Environment: name, Status: tier}
	}
	const none, yes, warning, no = attestation.TierNone, attestation.TierAffirming, attestation.TierWarning, attestation.TierContraindicated
	for name, c := range map[string]struct{ in, want []attestation.Appraisal }{
		"nothing appraised": {nil, []attestation.Appraisal{with("attester", no)}},
		"one no":            {[]attestation.Appraisal{with("a", yes), with("b", no)}, []attestation.Appraisal{with("a", yes), with("b", no)}},
		"no verdict":        {[]attestation.Appraisal{with("a", yes), with("b", none)}, []attestation.Appraisal{with("a", yes), with("b", none)}},
		"each acceptable":   {[]attestation.Appraisal{with("a", yes), with("b", warning)}, []attestation.Appraisal{with("a", no), with("b", no)}},
	} {
		e := &attestation.RejectedError{Appraisals: c.in, Err: errors.New("why")}
		s := FromRejection(p.binding, e)
		require.Equal(t, Statement{Binding: p.binding, Appraisals: c.want}, s, name)
		_, err := p.check(t, p.issue(t, s))
		requireNo(t, err, ErrTier)
		if len(c.in) > 0 {
			require.Equal(t, yes, e.Appraisals[0].Status, "the caller's stays as it is")
		}
	}
}

func TestIssuerJWKS(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	data, err := p.issuer.JWKS()
	require.NoError(t, err)
	keys, err := ParseKeys(data)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.Equal(t, "k1", keys[0].ID)
	require.True(t, keys[0].Public.Equal(p.key.Public()))
	var m struct{ Keys []map[string]string }
	require.NoError(t, json.Unmarshal(data, &m))
	require.Equal(t, "sig", m.Keys[0]["use"])
	require.Equal(t, "ES256", m.Keys[0]["alg"])

	next := Key{ID: "k2", Public: &newKey(t).PublicKey}
	data, err = p.issuer.JWKS(next, keys[0])
	require.NoError(t, err)
	keys, err = ParseKeys(data)
	require.NoError(t, err)
	require.Len(t, keys, 2)
	require.Equal(t, []string{"k1", "k2"}, []string{keys[0].ID, keys[1].ID})
	for _, other := range []Key{{ID: "k1", Public: next.Public}, {ID: "k3"}} {
		_, err = p.issuer.JWKS(other)
		require.ErrorIs(t, err, ErrKeySet)
	}
}
