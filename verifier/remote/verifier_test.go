package remote

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/veraisonfake"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	valid := func() Options {
		return Options{URL: "https://verifier.test", MediaTypes: []string{toyType}, Checker: new(ear.Checker)}
	}
	for name, tc := range map[string]struct {
		change func(*Options)
		good   bool
	}{
		"valid":                  {func(*Options) {}, true},
		"port and path":          {func(o *Options) { o.URL = "https://verifier.test:8443/a/b/" }, true},
		"plain to loopback":      {func(o *Options) { o.URL, o.PlainHTTPToLoopback = "http://127.0.0.1:80", true }, true},
		"plain to loopback 6":    {func(o *Options) { o.URL, o.PlainHTTPToLoopback = "http://[::1]:80", true }, true},
		"plain without option":   {func(o *Options) { o.URL = "http://127.0.0.1:80" }, false},
		"plain elsewhere":        {func(o *Options) { o.URL, o.PlainHTTPToLoopback = "http://192.0.2.1", true }, false},
		"plain to a name":        {func(o *Options) { o.URL, o.PlainHTTPToLoopback = "http://localhost", true }, false},
		"no URL":                 {func(o *Options) { o.URL = "" }, false},
		"not a URL":              {func(o *Options) { o.URL = "https://%zz" }, false},
		"no scheme":              {func(o *Options) { o.URL = "verifier.test:443" }, false},
		"other scheme":           {func(o *Options) { o.URL = "ftp://verifier.test" }, false},
		"user":                   {func(o *Options) { o.URL = "https://u:p@verifier.test" }, false},
		"query":                  {func(o *Options) { o.URL = "https://verifier.test?x" }, false},
		"empty query":            {func(o *Options) { o.URL = "https://verifier.test?" }, false},
		"fragment":               {func(o *Options) { o.URL = "https://verifier.test#x" }, false},
		"no media type":          {func(o *Options) { o.MediaTypes = nil }, false},
		"report data, not taken": {func(o *Options) { o.ReportDataTypes = []string{reportType} }, false},
		"report data":            {func(o *Options) { o.ReportDataTypes = []string{toyType} }, true},
		"no checker":             {func(o *Options) { o.Checker = nil }, false},
		"negative number":        {func(o *Options) { o.MaxInFlight = -1 }, false},
		"negative time":          {func(o *Options) { o.BreakFor = -1 }, false},
		"negative lifetime":      {func(o *Options) { o.Lifetime = -1 }, false},
		"backoff":                {func(o *Options) { o.Backoff, o.MaxBackoff = 2, 1 }, false},
		"large backoff":          {func(o *Options) { o.Backoff = time.Minute }, true},
		"TLS 1.2":                {func(o *Options) { o.TLS = &tls.Config{MinVersion: tls.VersionTLS12} }, true},
		"TLS 1.1":                {func(o *Options) { o.TLS = &tls.Config{MinVersion: tls.VersionTLS11} }, false},
		"TLS not verified":       {func(o *Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} }, false},
	} {
		o := valid()
		tc.change(&o)
		v, err := New(o)
		if !tc.good {
			require.ErrorIs(t, err, ErrConfig, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, DefaultAttempts, v.o.Attempts, name)
	}
	mine := &tls.Config{}
	o := valid()
	o.TLS = mine
	v := must(New(o))
	require.Zero(t, mine.MinVersion, "the caller's is not changed")
	require.EqualValues(t, tls.VersionTLS13, v.o.TLS.MinVersion)
}

// C-5: the binder is the nonce, and the EAR must repeat it and state the key.
func TestAppraise(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{options: func(o *Options) { o.Lifetime = time.Minute }})
	require.Equal(t, []string{toyType, reportType}, w.MediaTypes())
	b := newBinding()
	r, err := w.Appraise(context.Background(), b, toyEvidence(b))
	require.NoError(t, err)
	require.True(t, r.Answers(b))
	require.Equal(t, attestation.TierAffirming, r.Tier())
	require.Equal(t, time.Minute, r.Lifetime())
	require.Equal(t, "FAKE", r.Appraisals()[0].Environment)
	require.NoError(t, w.Close())
	require.Equal(t, 1, w.service.Stats().Deleted)
	require.Zero(t, w.service.Open(), "the session is deleted, and the Evidence in it")
	require.Empty(t, w.service.Stats().Key)
}

// I-2, I-3, I-4: good Evidence, but of another connection or key, is refused.
func TestOtherBinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	b, other := newBinding(), newBinding()
	_, err := w.Appraise(context.Background(), b, toyEvidence(other))
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, ear.ErrTier)
	require.Equal(t, 1, w.service.Stats().Appraisals, "a verdict is not asked for twice")

	mixed := must(attestation.AssertedBinding(b.Binder(), other.SPKI()))
	_, err = w.Appraise(context.Background(), b, toyEvidence(mixed))
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, ear.ErrKey)
}

// A service that states no key is taken by an option only; another key never.
func TestUnattestedKey(t *testing.T) {
	t.Parallel()
	silent := func(o *veraisonfake.Options) { o.AttestedKey = nil }
	accept := func(o *Options) { o.AcceptUnattestedKey = true }
	err := newWorld(t, change{fake: silent}).ask(t)
	require.ErrorIs(t, err, ear.ErrKey)
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.NoError(t, newWorld(t, change{fake: silent, options: accept}).ask(t))
	other := func(o *veraisonfake.Options) {
		o.AttestedKey = func([]byte) crypto.PublicKey { return newKey().Public() }
	}
	require.ErrorIs(t, newWorld(t, change{fake: other, options: accept}).ask(t), ear.ErrKey)
}

// Report data as the nonce, which commits to the key.
func TestReportData(t *testing.T) {
	t.Parallel()
	silent := func(o *veraisonfake.Options) { o.AttestedKey = nil }
	w := newWorld(t, change{fake: silent, options: func(o *Options) { o.ReportDataTypes = []string{reportType} }})
	b := newBinding()
	r, err := w.Appraise(context.Background(), b, reportEvidence(b))
	require.NoError(t, err)
	require.True(t, r.Answers(b))
	other := must(attestation.AssertedBinding(b.Binder(), newBinding().SPKI()))
	_, err = w.Appraise(context.Background(), other, reportEvidence(b))
	require.ErrorIs(t, err, attestation.ErrRejected)
	_, err = w.Appraise(context.Background(), b, toyEvidence(b))
	require.ErrorIs(t, err, ear.ErrKey, "the binder alone does not commit to it")
	_, err = newWorld(t, change{fake: silent}).Appraise(context.Background(), b, reportEvidence(b))
	require.ErrorIs(t, err, attestation.ErrRejected, "without the option the nonce is the binder")
}

func TestMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{fake: func(o *veraisonfake.Options) {
		o.Good = func(nonce []byte, mediaType string, evidence []byte) bool {
			m, err := cmw.Decode(evidence)
			return mediaType == collectionType && err == nil && len(m.Leaves()) == 2
		}
		o.AttestedKey = nil
	}, options: func(o *Options) { o.AcceptUnattestedKey = true }})
	b := newBinding()
	ctx := context.Background()
	both := must(cmw.NewCollection("", []cmw.Item{
		{Label: cmw.TextLabel("a"), Message: toyEvidence(b)}, {Label: cmw.TextLabel("b"), Message: reportEvidence(b)},
	}))
	_, err := w.Appraise(ctx, b, both)
	require.NoError(t, err)
	_, err = w.Appraise(ctx, b, must(cmw.NewRecord("text/plain", []byte("x"), 0)))
	require.ErrorIs(t, err, attestation.ErrMediaType)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	for _, i := range []cmw.Indicator{cmw.AttestationResults, cmw.Evidence | cmw.AttestationResults, cmw.ReferenceValues} { // G-11
		_, err = w.Appraise(ctx, b, must(cmw.NewRecord(toyType, b.Binder(), i)))
		require.ErrorIs(t, err, attestation.ErrMalformed)
		require.NotErrorIs(t, err, attestation.ErrUnavailable)
	}
	_, err = w.Appraise(ctx, attestation.Binding{}, both)
	require.ErrorIs(t, err, attestation.ErrMisuse)
	_, err = w.Appraise(ctx, b, nil)
	require.ErrorIs(t, err, attestation.ErrMisuse)
	large := func(label string) cmw.Item {
		return cmw.Item{Label: cmw.TextLabel(label), Message: must(cmw.NewRecord(toyType, make([]byte, cmw.MaxSize/2), 0))}
	}
	_, err = w.Appraise(ctx, b, must(cmw.NewCollection("", []cmw.Item{large("a"), large("b")})))
	require.ErrorIs(t, err, attestation.ErrMalformed)
}

// The peer spells the media type of its Evidence; the service is told it as configured,
// or a peer could fill the header until the service hangs up.
func TestSpelling(t *testing.T) {
	t.Parallel()
	const configured = `application/eat+cwt; eat_profile="https://toy.example"`
	var told string
	w := newWorld(t, change{
		fake: func(o *veraisonfake.Options) {
			o.MediaTypes, o.AttestedKey = []string{configured}, nil
			o.Good = func(_ []byte, mediaType string, _ []byte) bool { told = mediaType; return true }
		},
		options: func(o *Options) { o.MediaTypes, o.AcceptUnattestedKey = []string{toyType, configured}, true },
	})
	b := newBinding()
	long := "Application/EAT+cwt;" + strings.Repeat(" ", 20<<10) + `eat_profile="https://toy.example"`
	_, err := w.Appraise(context.Background(), b, must(cmw.NewRecord(long, b.Binder(), cmw.Evidence)))
	require.NoError(t, err)
	require.Equal(t, configured, told)
}

// What the service does not take is not sent to it.
func TestServiceTakesOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{fake: func(o *veraisonfake.Options) { o.MediaTypes = []string{"a/b"} }})
	err := w.ask(t)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.Zero(t, w.service.Stats().Appraisals)
}

func TestPoll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{fake: func(o *veraisonfake.Options) { o.Polls = 3 }})
	require.NoError(t, w.ask(t))
	require.NoError(t, w.Close())
	require.Equal(t, 1+1+3+1, w.service.Stats().Requests) // session, Evidence, polls, DELETE
}

// The real service's EAR has no iss; a Checker must be told so.
func TestUnnamedIssuer(t *testing.T) {
	t.Parallel()
	real := func(o *veraisonfake.Options) { o.Issuer = "" }
	err := newWorld(t, change{fake: real}).ask(t)
	require.ErrorIs(t, err, ear.ErrIssuer)
	require.ErrorIs(t, err, ErrResult)
	require.NotErrorIs(t, err, attestation.ErrRejected, "that says nothing about the peer")
	require.NoError(t, newWorld(t, change{fake: real, checker: func(o *ear.CheckerOptions) { o.AllowUnnamedIssuer = true }}).ask(t))
}

func TestToken(t *testing.T) {
	t.Parallel()
	var token string
	var failure error
	w := newWorld(t, change{options: func(o *Options) {
		o.SendKey = true
		o.Token = func(context.Context) (string, error) { return token, failure }
	}})
	for _, bad := range []string{"", "a b", "a\r\nb", "é"} {
		token = bad
		require.ErrorIs(t, w.ask(t), ErrRefused)
	}
	require.Zero(t, w.service.Stats().Requests)
	token = "secret-token"
	b := newBinding()
	_, err := w.Appraise(context.Background(), b, toyEvidence(b))
	require.NoError(t, err)
	require.Equal(t, "Bearer secret-token", w.service.Stats().Authorization)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(b.SPKI()), w.service.Stats().Key)
	failure = errors.New("no token today")
	require.ErrorIs(t, w.ask(t), failure)
	require.NoError(t, w.Close())
	require.Zero(t, w.service.Stats().Deleted, "a service that takes the key keeps no session")
}

// A service with a certificate of another CA is not asked a second time.
func TestTLS(t *testing.T) {
	t.Parallel()
	requests := 0
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests++ }))
	srv.Config.ErrorLog = nil
	defer srv.Close()
	w := newWorld(t, change{options: func(o *Options) { o.URL = srv.URL }})
	err := w.ask(t)
	require.ErrorIs(t, err, ErrUnreachable)
	var untrusted *tls.CertificateVerificationError
	require.ErrorAs(t, err, &untrusted)
	require.Zero(t, requests)
	require.Equal(t, 1, w.breaker.failures)
}

type attester struct {
	types []string
	m     func(attestation.Binding) (*cmw.Message, error)
}

func (a attester) MediaTypes() []string { return a.types }

func (a attester) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return a.m(b)
}

var _ passport.Source = (*Source)(nil)

// The passport model: an Attester obtains an EAR about itself.
func TestSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	_, err := w.Source(nil)
	require.ErrorIs(t, err, ErrConfig)
	_, err = w.Source(attester{types: []string{"a/b"}})
	require.ErrorIs(t, err, ErrConfig)
	var m func(attestation.Binding) (*cmw.Message, error)
	source, err := w.Source(attester{[]string{toyType}, func(b attestation.Binding) (*cmw.Message, error) { return m(b) }})
	require.NoError(t, err)

	b := newBinding()
	m = func(b attestation.Binding) (*cmw.Message, error) { return toyEvidence(b), nil }
	token, expires, err := source.Obtain(context.Background(), b)
	require.NoError(t, err)
	e, err := w.o.Checker.Check(context.Background(), token)
	require.NoError(t, err)
	require.NoError(t, e.AttestsKey(b))
	require.Equal(t, e.Expires(), expires)

	m = func(attestation.Binding) (*cmw.Message, error) { return toyEvidence(newBinding()), nil }
	token, _, err = source.Obtain(context.Background(), b)
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.Nil(t, token, "a verdict of no is no passport")
	m = func(attestation.Binding) (*cmw.Message, error) { return nil, nil }
	_, _, err = source.Obtain(context.Background(), b)
	require.ErrorIs(t, err, attestation.ErrAttester)
	m = func(attestation.Binding) (*cmw.Message, error) { return nil, attestation.ErrMisuse }
	_, _, err = source.Obtain(context.Background(), b)
	require.ErrorIs(t, err, attestation.ErrAttester)
}

// The cache answers the same question only, and only as long as the EAR holds.
func TestCache(t *testing.T) {
	t.Parallel()
	real := &clock{t: time.Now()}
	w := newWorld(t, change{
		options: func(o *Options) { o.CacheEntries = 2 },
		checker: func(o *ear.CheckerOptions) { o.Now = real.Now },
	})
	ctx := context.Background()
	b := newBinding()
	asked := func() int { return w.service.Stats().Appraisals }
	for range 3 {
		_, err := w.Appraise(ctx, b, toyEvidence(b))
		require.NoError(t, err)
	}
	require.Equal(t, 1, asked())
	// Another connection, or the same with another key: asked, and refused.
	for _, other := range []attestation.Binding{newBinding(), must(attestation.AssertedBinding(b.Binder(), newBinding().SPKI()))} {
		_, err := w.Appraise(ctx, other, toyEvidence(b))
		require.ErrorIs(t, err, attestation.ErrRejected)
	}
	require.Equal(t, 3, asked())
	// An EAR that has expired is not used again.
	real.Add(ear.DefaultMaxAge + ear.DefaultSkew)
	_, err := w.Appraise(ctx, b, toyEvidence(b))
	require.ErrorIs(t, err, ear.ErrExpired) // the fake's clock stands behind
	require.Equal(t, 4, asked())
	require.Empty(t, w.cache.order)
	real.Add(-ear.DefaultMaxAge - ear.DefaultSkew)
	// The oldest of three makes room.
	three := []attestation.Binding{b, newBinding(), newBinding()}
	for _, b := range three {
		_, err := w.Appraise(ctx, b, toyEvidence(b))
		require.NoError(t, err)
	}
	require.Len(t, w.cache.kept, 2)
	before := asked()
	for _, b := range three[1:] {
		_, err := w.Appraise(ctx, b, toyEvidence(b))
		require.NoError(t, err)
	}
	require.Equal(t, before, asked())
}
