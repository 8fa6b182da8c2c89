package corim_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/corim"
)

// triples makes a CoRIM of triples: each an environment and its measurements.
func triples(t *testing.T, list ...any) *corim.References {
	t.Helper()
	d := newDraft()
	d.triples = m{0: list}
	r, err := corim.Parse(d.payload(t), unsigned())
	require.NoError(t, err)
	return r
}

func class(model string) m { return m{0: m{2: model}} }

// reading is a measurement of one digest.
func reading(name, seed string) m { return m{0: name, 1: m{2: []any{[]any{1, digest(seed)}}}} }

func claims(model string, list ...string) *evidence.Claims {
	c := &evidence.Claims{HardwareModel: []byte(model), Debug: evidence.DebugDisabled}
	for i := 0; i < len(list); i += 2 {
		c.Measurements = append(c.Measurements, evidence.Measurement{Name: list[i], Digest: digest(list[i+1])})
	}
	return c
}

// Triples with the same measurements are alternatives as a whole: two releases in one
// CoRIM do not let parts of one run with parts of the other.
func TestAlternatives(t *testing.T) {
	t.Parallel()
	r := triples(t,
		[]any{class("x"), []any{reading("boot", "1"), reading("kernel", "1")}},
		[]any{class("x"), []any{reading("boot", "2"), reading("kernel", "2")}},
		[]any{class("x"), []any{reading("alone", "1")}},
		[]any{class("x"), []any{reading("alone", "2")}})
	require.Equal(t, map[string][][]byte{
		"boot": {digest("1"), digest("2")}, "kernel": {digest("1"), digest("2")}, "alone": {digest("1"), digest("2")},
	}, r.Measurements)
	require.Len(t, r.Rules, 1)
	require.Equal(t, `CoRIM "corim-1": state of digests of "boot", digests of "kernel"`, r.Rules[0].Name)
	for name, c := range map[string]struct {
		list []string
		ok   bool
	}{
		"first":      {[]string{"boot", "1", "kernel", "1"}, true},
		"second":     {[]string{"boot", "2", "kernel", "2", "alone", "1"}, true},
		"mixed":      {[]string{"boot", "1", "kernel", "2"}, false},
		"one alone":  {[]string{"boot", "1"}, false},
		"twice good": {[]string{"boot", "1", "boot", "1", "kernel", "1"}, true},
		"twice, bad": {[]string{"boot", "1", "boot", "2", "kernel", "1"}, false},
		"none":       {nil, false},
	} {
		err := r.Rules[0].Check(context.Background(), claims("x", c.list...))
		require.Equal(t, c.ok, err == nil, name)
	}
}

// Other models, instances and vendors have other values: not each other's.
func TestAlternativesByIdentity(t *testing.T) {
	t.Parallel()
	r := triples(t,
		[]any{m{0: m{1: "v", 2: "x"}, 1: tag(560, []byte{1})}, []any{reading("boot", "1")}},
		[]any{m{0: m{1: "v", 2: "y"}, 1: tag(560, []byte{2})}, []any{reading("boot", "2")}})
	require.Equal(t, [][]byte{[]byte("x"), []byte("y")}, r.HardwareModels)
	require.Equal(t, [][]byte{[]byte("v")}, r.Vendors)
	require.Equal(t, [][]byte{{1}, {2}}, r.Instances)
	require.Len(t, r.Rules, 1)
	for _, c := range []struct {
		vendor, model, seed string
		instance            byte
		ok                  bool
	}{
		{"v", "x", "1", 1, true}, {"v", "y", "2", 2, true}, {"v", "x", "2", 1, false},
		{"v", "x", "1", 2, false}, {"v", "y", "1", 2, false}, {"w", "x", "1", 1, false},
	} {
		e := claims(c.model, "boot", c.seed)
		e.Vendor, e.Instance = []byte(c.vendor), []byte{c.instance}
		require.Equal(t, c.ok, r.Rules[0].Check(context.Background(), e) == nil, "%+v", c)
	}
}

// What is said of one model, vendor or instance holds of no other, also where the
// triples are about different measurements.
func TestOtherMeasurementsOfOthers(t *testing.T) {
	t.Parallel()
	r := triples(t,
		[]any{class("x"), []any{reading("boot", "1")}},
		[]any{class("y"), []any{reading("boot", "2")}},
		[]any{class("x"), []any{reading("app", "1")}})
	require.Len(t, r.Rules, 2)
	check := func(c *evidence.Claims) error {
		var errs []error
		for _, rule := range r.Rules {
			errs = append(errs, rule.Check(context.Background(), c))
		}
		return errors.Join(errs...)
	}
	require.NoError(t, check(claims("x", "boot", "1", "app", "1")))
	require.Error(t, check(claims("y", "boot", "2", "app", "1")), "app is good on x alone")

	// A CoRIM whose triples no device can meet together is met by none.
	r = triples(t, []any{class("x"), []any{reading("boot", "1")}}, []any{class("y"), []any{reading("app", "1")}})
	for _, model := range []string{"x", "y"} {
		require.Error(t, check(claims(model, "boot", "1", "app", "1")), model)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	for name, list := range map[string][]any{
		"overlap":         {[]any{class("x"), []any{reading("a", "1")}}, []any{class("x"), []any{reading("a", "2"), reading("b", "2")}}},
		"some a model":    {[]any{class("x"), []any{reading("a", "1")}}, []any{m{0: m{1: "v"}}, []any{reading("b", "1")}}},
		"some instance":   {[]any{class("x"), []any{reading("a", "1")}}, []any{m{0: m{2: "x"}, 1: tag(560, []byte{1})}, []any{reading("b", "1")}}},
		"number and text": {[]any{class("x"), []any{reading("1", "1")}}, []any{class("x"), []any{m{0: 1, 1: m{2: []any{[]any{1, digest("2")}}}}}}},
	} {
		d := newDraft()
		d.triples = m{0: list}
		_, err := corim.Parse(d.payload(t), unsigned())
		require.ErrorIs(t, err, corim.ErrConflict, name)
	}
}

// A minimum is a minimum; a version or svn without "min" is that one alone.
func TestVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values   m
		lowest   string
		ok, fail []string
	}{
		"min svn":    {m{1: tag(553, 5)}, "5", nil, nil},
		"svn":        {m{1: 5}, "5", []string{"5", "5.0"}, []string{"4", "6", "x", ""}},
		"tagged svn": {m{1: tag(552, 5)}, "5", []string{"5"}, []string{"6"}},
		"version":    {m{0: m{0: "1.10", 1: 1}}, "1.10", []string{"1.10"}, []string{"1.1", "1.11"}},
		"semver":     {m{0: m{0: "1.2.3", 1: 16384}}, "1.2.3", []string{"1.2.3"}, []string{"1.2.4"}},
		"decimal":    {m{0: m{0: "12", 1: 4}}, "12", []string{"12"}, []string{"13"}},
		"no scheme":  {m{0: m{0: "12"}}, "12", []string{"12"}, []string{"13"}},
	} {
		r := triples(t, []any{class("x"), []any{m{0: "fw", 1: c.values}}})
		require.Equal(t, map[string]string{"fw": c.lowest}, r.MinVersions, name)
		require.Nil(t, r.Measurements)
		require.Len(t, r.Rules, min(1, len(c.ok)), name)
		for _, version := range append(c.ok, c.fail...) {
			e := claims("x")
			e.Software = []evidence.Software{{Name: "other", Version: "9"}, {Name: "fw", Version: version}}
			good := len(c.ok) > 0 && (version == c.ok[0] || len(c.ok) > 1 && version == c.ok[1])
			require.Equal(t, good, r.Rules[0].Check(context.Background(), e) == nil, "%s: %s", name, version)
		}
	}
	r := triples(t,
		[]any{class("x"), []any{m{0: "fw", 1: m{1: 7}}}}, []any{class("x"), []any{m{0: "fw", 1: m{1: tag(553, 5)}}}},
		[]any{class("x"), []any{m{0: "fw", 1: m{1: 6}}}})
	require.Equal(t, map[string]string{"fw": "5"}, r.MinVersions, "the lowest of the alternatives")
}

// A policy does not outlive its reference values.
func TestExpiry(t *testing.T) {
	t.Parallel()
	d, at0 := newDraft(), now
	d.manifest[4] = m{1: at(now.Add(time.Hour))}
	o := unsigned()
	o.Now = func() time.Time { return at0 }
	r, err := corim.Parse(d.payload(t), o)
	require.NoError(t, err)
	require.Len(t, r.Rules, 1)
	require.NoError(t, r.Rules[0].Check(context.Background(), claims("x")))
	at0 = now.Add(time.Hour)
	require.NoError(t, r.Rules[0].Check(context.Background(), claims("x")))
	at0 = at0.Add(time.Second)
	require.ErrorIs(t, r.Rules[0].Check(context.Background(), claims("x")), corim.ErrExpired)
}

func TestApply(t *testing.T) {
	t.Parallel()
	d := newDraft()
	d.environment[1] = tag(560, []byte{1})
	d.values[1], d.values[3] = 3, m{3: false}
	r, err := corim.Parse(d.payload(t), unsigned())
	require.NoError(t, err)
	other := verifier.Rule{Name: "own", Check: func(context.Context, *evidence.Claims) error { return nil }}
	p := verifier.Policy{Rules: []verifier.Rule{other}, Vendors: [][]byte{[]byte("X"), []byte("ACME")}, MinVersions: map[string]string{"os": "1"}}
	require.NoError(t, r.Apply(&p))
	require.Equal(t, r.Measurements, p.Measurements)
	require.Equal(t, map[string]string{"os": "1", "launch": "3"}, p.MinVersions)
	require.Equal(t, [][]byte{[]byte("ACME")}, p.Vendors)
	require.Equal(t, [][]byte{[]byte("Milan")}, p.HardwareModels)
	require.Equal(t, [][]byte{{1}}, p.Instances)
	require.Equal(t, []string{"own", `CoRIM "corim-1": state of digests of "launch", version of "launch"`}, []string{p.Rules[0].Name, p.Rules[1].Name})

	for name, bad := range map[string]verifier.Policy{
		"measurement": {Measurements: map[string][][]byte{"launch": {digest("x")}}},
		"version":     {MinVersions: map[string]string{"launch": "1"}},
		"debug":       {AllowDebugExposingMemory: true},
		"no debug":    {AllowDebugLeftToSoftware: true},
		"any":         {AnyInstance: true},
		"vendor":      {Vendors: [][]byte{[]byte("X")}},
		"model":       {HardwareModels: [][]byte{[]byte("X")}},
		"instance":    {Instances: [][]byte{{9}}},
	} {
		before := bad
		require.ErrorIs(t, r.Apply(&bad), corim.ErrConflict, name)
		require.Equal(t, before, bad, name)
	}

	p = verifier.Policy{AnyInstance: true}
	require.NoError(t, triples(t, []any{class("x"), []any{reading("a", "1")}}).Apply(&p))
	require.Nil(t, p.MinVersions, "nil means that versions are not judged")
	require.Nil(t, p.Instances)
}

// Limits says as rules what References says in fields.
func TestLimitsRules(t *testing.T) {
	t.Parallel()
	d := newDraft()
	d.environment[1], d.values[3] = tag(560, []byte{1}), m{3: false}
	r, err := corim.Parse(d.payload(t), unsigned())
	require.NoError(t, err)
	limits := r.Limits()
	var names []string
	good := func() *evidence.Claims {
		return &evidence.Claims{Vendor: []byte("ACME"), HardwareModel: []byte("Milan"), Instance: []byte{1}, Debug: evidence.DebugDisabled}
	}
	for _, l := range limits {
		names = append(names, l.Name)
		require.NoError(t, l.Check(context.Background(), good()), l.Name)
	}
	require.Equal(t, []string{`CoRIM "corim-1": vendor`, `CoRIM "corim-1": hardware model`, `CoRIM "corim-1": instance`, `CoRIM "corim-1": debug off`}, names)
	for i, change := range []func(c *evidence.Claims){
		func(c *evidence.Claims) { c.Vendor = nil }, func(c *evidence.Claims) { c.HardwareModel = []byte("Mila") },
		func(c *evidence.Claims) { c.Instance = []byte{2} }, func(c *evidence.Claims) { c.Debug = evidence.DebugLeftToSoftware },
	} {
		bad := good()
		change(bad)
		for j, l := range limits {
			require.Equal(t, i != j, l.Check(context.Background(), bad) == nil, "%s", l.Name)
		}
	}
}

// certificate makes one for key, signed by parent or by itself.
func certificate(t *testing.T, key crypto.Signer, parent *x509.Certificate, by crypto.Signer, change func(c *x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.NotAfter = "root", true, true, x509.KeyUsageCertSign, now.Add(2*time.Hour)
	}
	if change != nil {
		change(c)
	}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// Certificates in x5chain lead to a root, in either header.
func TestChain(t *testing.T) {
	t.Parallel()
	rootKey, key := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	root := certificate(t, rootKey, nil, nil, nil)
	leaf := certificate(t, key, root, rootKey, nil)
	for name, c := range map[string]struct {
		protected, unprotected any
		want                   error
	}{
		"protected":      {leaf.Raw, nil, nil},
		"unprotected":    {nil, leaf.Raw, nil},
		"with root":      {[]any{leaf.Raw, root.Raw}, nil, nil},
		"both":           {leaf.Raw, leaf.Raw, corim.ErrFormat},
		"none":           {nil, nil, corim.ErrSigner},
		"no certificate": {[]byte("x"), nil, corim.ErrFormat},
		"seven":          {[]any{leaf.Raw, root.Raw, root.Raw, root.Raw, root.Raw, root.Raw, root.Raw}, nil, corim.ErrFormat},
		"six":            {[]any{leaf.Raw, root.Raw, root.Raw, root.Raw, root.Raw, root.Raw}, nil, nil},
		"too large":      {make([]byte, 16<<10+1), nil, corim.ErrFormat},
		"a root signs":   {root.Raw, nil, corim.ErrSigner},
		"not a signer's": {certificate(t, key, root, rootKey, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }).Raw, nil, corim.ErrSigner},
		"no usage":       {certificate(t, key, root, rootKey, func(c *x509.Certificate) { c.KeyUsage = 0 }).Raw, nil, nil},
		"self-signed":    {certificate(t, key, nil, nil, nil).Raw, nil, corim.ErrSigner},
		"expired":        {certificate(t, key, root, rootKey, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }).Raw, nil, corim.ErrExpired},
		"not yet":        {certificate(t, key, root, rootKey, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Second) }).Raw, nil, corim.ErrNotYetValid},
		"another key's":  {certificate(t, ecKey(t, elliptic.P256()), root, rootKey, nil).Raw, nil, corim.ErrSignature},
		"another type":   {certificate(t, edKey(t), root, rootKey, nil).Raw, nil, corim.ErrSigner},
	} {
		d := newDraft()
		if c.protected != nil {
			d.protected[cose.HeaderLabelX5Chain] = c.protected
		}
		if c.unprotected != nil {
			d.unprotected = cose.UnprotectedHeader{cose.HeaderLabelX5Chain: c.unprotected}
		}
		o := options()
		o.Roots = x509.NewCertPool()
		o.Roots.AddCert(root)
		r, err := corim.Parse(d.sign(t, cose.AlgorithmES256, key), o)
		require.ErrorIs(t, err, c.want, name)
		if c.want == nil {
			require.Equal(t, keyID(t, key.Public()), r.Provenance.KeyID)
			require.True(t, r.NotAfter.Equal(leaf.NotAfter), "%s: the first of the chain to end", name)
		}
	}
	// A list of one is a byte string (RFC 9360), so that the COSE library refuses it.
	protected := encode(t, m{1: -7, 3: "application/rim+cbor", 8: encode(t, m{0: m{0: "s"}}), 33: []any{}})
	o := options()
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(root)
	_, err := corim.Parse(encode(t, tag(18, []any{protected, m{}, newDraft().payload(t), make([]byte, 64)})), o)
	require.ErrorIs(t, err, corim.ErrFormat)
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	root := certificate(t, key, nil, nil, nil)
	full := x509.NewCertPool()
	full.AddCert(root)
	for name, o := range map[string]corim.Options{
		"nothing":      {},
		"two":          {Keys: []crypto.PublicKey{key.Public()}, AcceptUnsignedFromAnyone: true},
		"keys, roots":  {Keys: []crypto.PublicKey{key.Public()}, Roots: full},
		"empty roots":  {Roots: x509.NewCertPool()},
		"private key":  {Keys: []crypto.PublicKey{key}},
		"nil key":      {Keys: []crypto.PublicKey{nil}},
		"P-224":        {Keys: []crypto.PublicKey{ecKey(t, elliptic.P224()).Public()}},
		"empty name":   {AcceptUnsignedFromAnyone: true, Names: map[string]string{"x": ""}},
		"short Ed key": {Keys: []crypto.PublicKey{ed25519.PublicKey{1}}},
		"empty key":    {Keys: []crypto.PublicKey{&ecdsa.PublicKey{}}},
	} {
		_, err := corim.Parse(nil, o)
		require.ErrorIs(t, err, corim.ErrOptions, name)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	public, cert := pemOf("PUBLIC KEY", spki), pemOf("CERTIFICATE", root.Raw)
	var o corim.Options
	require.NoError(t, o.Trust(append(public, public...)))
	require.Equal(t, []crypto.PublicKey{key.Public(), key.Public()}, o.Keys)
	require.Nil(t, o.Roots)
	require.NoError(t, o.Trust(append([]byte("\n"), cert...)))
	require.Nil(t, o.Keys)
	require.True(t, o.Roots.Equal(full))
	for name, text := range map[string][]byte{
		"nothing": nil, "text": []byte("x"), "both": append(public, cert...), "text before": append([]byte("x\n"), public...),
		"half": public[:40], "private": pemOf("PRIVATE KEY", spki), "bad key": pemOf("PUBLIC KEY", []byte{1}), "bad certificate": pemOf("CERTIFICATE", []byte{1}),
	} {
		o := corim.Options{}
		require.ErrorIs(t, o.Trust(text), corim.ErrOptions, name)
		require.Equal(t, corim.Options{}, o, name)
	}
	// Without a clock, that of the machine.
	d := newDraft()
	d.manifest[4] = m{1: at(time.Now().Add(time.Hour))}
	o = unsigned()
	o.Now = nil
	_, err = corim.Parse(d.payload(t), o)
	require.NoError(t, err)
}
