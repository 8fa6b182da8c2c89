package expat

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/tlspair"
)

// Every check of a Config, by its text, and the Config that passes it.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	chain := func(context.Context, authenticator.Chain) error { return nil }
	nonce := func(context.Context) ([]byte, error) { return nil, nil }
	attester := func(c *Config) { c.Verifier, c.Attester, c.TLS.Certificates = nil, &toy{}, []tls.Certificate{w.server} }
	needsAsking := "ReattestEvery, AllowKeyChange, BeforeReattest and AfterReattest need a Verifier: without one nobody is asked anew"
	needsVerifier := "RequireSameLeaf, RequireOCSPStaple, CheckRevocation and Nonce need a Verifier: without one the peer shows no authenticator"
	for _, c := range []struct {
		text string
		bad  func(*Config)
	}{
		{"set Attester, Verifier or both: without them nothing is attested", func(c *Config) { c.Verifier = nil }},
		{"set TLS", func(c *Config) { c.TLS = nil }},
		{"Timeout and VerifierTimeout must not be negative", func(c *Config) { c.Timeout = -1 }},
		{"ReattestEvery must not be negative", func(c *Config) { c.ReattestEvery = -1 }},
		{needsAsking, func(c *Config) { attester(c); c.ReattestEvery = 1 }},
		{needsAsking, func(c *Config) { attester(c); c.AllowKeyChange = true }},
		{needsAsking, func(c *Config) { attester(c); c.BeforeReattest = func(*Conn) {} }},
		{needsAsking, func(c *Config) { attester(c); c.AfterReattest = func(*Conn, *attestation.Result, error) {} }},
		{"Reattested needs an Attester: without one this side shows nothing", func(c *Config) { c.Reattested = func(*Conn) {} }},
		{"GetIdentities would not be called: TLS names the certificate, and there is no Attester", func(c *Config) {
			c.TLS.Certificates, c.GetIdentities = []tls.Certificate{w.server}, func(context.Context) ([]tls.Certificate, error) { return nil, nil }
		}},
		{"RootsForURI has a CA prove a name, AttestedKeyOnly has none", func(c *Config) {
			c.TLS.RootCAs, c.AttestedKeyOnly, c.RootsForURI = nil, true, new(byName).roots
		}},
		{"set RootsForURI, or TLS.RootCAs and TLS.ClientCAs, not both", func(c *Config) { c.RootsForURI = new(byName).roots }},
		{"set Identities or GetIdentities, not both", func(c *Config) {
			c.Identities, c.GetIdentities = []tls.Certificate{w.server}, func(context.Context) ([]tls.Certificate, error) { return nil, nil }
		}},
		{"Timeout and VerifierTimeout must not be negative", func(c *Config) { c.VerifierTimeout = -1 }},
		{"MaxAuthenticator must be 0 to 1048576", func(c *Config) { c.MaxAuthenticator = -1 }},
		{"MaxAuthenticator must be 0 to 1048576", func(c *Config) { c.MaxAuthenticator = MaxMaxAuthenticator + 1 }},
		{"MaxExchanges must not be negative", func(c *Config) { c.MaxExchanges = -1 }},
		{"ClientFirst needs Attester and Verifier", func(c *Config) { c.ClientFirst = true }},
		{"ClientFirst needs Attester and Verifier", func(c *Config) { attester(c); c.ClientFirst = true }},
		{"PinnedServerKeys is for AttestedKeyOnly", func(c *Config) { c.PinnedServerKeys = make([][32]byte, 1) }},
		{"AttestedKeyOnly without a Verifier trusts any key", func(c *Config) { attester(c); c.AttestedKeyOnly = true }},
		{"RequireOCSPStaple needs a CA, AttestedKeyOnly has none", func(c *Config) { c.AttestedKeyOnly, c.RequireOCSPStaple = true, true }},
		{needsVerifier, func(c *Config) { attester(c); c.RequireSameLeaf = true }},
		{needsVerifier, func(c *Config) { attester(c); c.RequireOCSPStaple = true }},
		{needsVerifier, func(c *Config) { attester(c); c.CheckRevocation = chain }},
		{needsVerifier, func(c *Config) { attester(c); c.Nonce = nonce }},
		{"TLS.InsecureSkipVerify is refused; see AttestedKeyOnly", func(c *Config) { c.TLS.InsecureSkipVerify = true }},
		{"TLS 1.3 must be allowed", func(c *Config) { c.TLS.MaxVersion = tls.VersionTLS12 }},
		{"TLS 1.3 must be allowed", func(c *Config) { c.TLS.MinVersion = tls.VersionTLS13 + 1 }},
		{"an Attester needs Identities or TLS.Certificates to sign with", func(c *Config) { c.Attester = &toy{} }},
		{"identity 0: authenticator: authenticate: certificate is not acceptable: chain of 0 certificates, want 1 to 10", func(c *Config) {
			c.Attester, c.Identities = &toy{}, make([]tls.Certificate, 1)
		}},
		{`application protocol "" must be 1 to 247 bytes`, func(c *Config) { c.TLS.NextProtos = []string{""} }},
		{`application protocol "` + strings.Repeat("a", 248) + `" must be 1 to 247 bytes`, func(c *Config) { c.TLS.NextProtos = []string{strings.Repeat("a", 248)} }},
		{`application protocol "a" occurs twice`, func(c *Config) { c.TLS.NextProtos = []string{"a", "b", "a"} }},
	} {
		good, _ := w.configs(serverAttests)
		_, err := good.prepare()
		require.NoError(t, err)
		bad, _ := w.configs(serverAttests)
		c.bad(bad)
		_, err = bad.prepare()
		require.ErrorIs(t, err, ErrConfig)
		require.Contains(t, strings.Split(strings.TrimPrefix(err.Error(), "invalid configuration: "), "\n"), c.text, "%v", err)
	}
}

func (c *Config) errorText() string {
	_, err := c.prepare()
	return err.Error()
}

func TestConfigErrorsTogether(t *testing.T) {
	t.Parallel()
	require.Equal(t, "invalid configuration: Config is nil", (*Config)(nil).errorText())
	require.Equal(t, "invalid configuration: set Attester, Verifier or both: without them nothing is attested\nset TLS", new(Config).errorText())
}

// Both sides of the limits, and the defaults of DESIGN 9.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.configs(serverAttests)
	c.Timeout = 0
	p, err := c.prepare()
	require.NoError(t, err)
	require.Equal(t, []any{30 * time.Second, 10 * time.Second, 256 << 10, 256}, []any{p.timeout, p.verifier, p.maxAuth, cap(p.exchanges)})
	require.Equal(t, attestation.Expat04(), p.profile)
	require.WithinDuration(t, time.Now(), p.now(), time.Minute)

	c, _ = w.configs(serverAttests)
	c.TLS.RootCAs = nil
	c.Timeout, c.VerifierTimeout, c.MaxAuthenticator, c.MaxExchanges = 1, 2, MaxMaxAuthenticator, 3
	c.Profile = attestation.Expat03()
	c.TLS.NextProtos = []string{strings.Repeat("a", 247)}
	p, err = c.prepare()
	require.NoError(t, err)
	require.Equal(t, []any{time.Duration(1), time.Duration(2), 1 << 20, 3}, []any{p.timeout, p.verifier, p.maxAuth, cap(p.exchanges)})
	require.Equal(t, attestation.Expat03(), p.profile)
	require.NotNil(t, p.roots, "the system's")
	require.Len(t, p.client.NextProtos[0], 255)
}

// A Config that cannot be used shows in every entry, closes what it was given,
// and never lets a byte through.
func TestConfigErrorShows(t *testing.T) {
	t.Parallel()
	for _, make := range []func(net.Conn, *Config) *Conn{Client, Server} {
		for _, cfg := range []*Config{nil, {}} {
			nc, _ := tlspair.Pipe(t)
			c := make(nc, cfg)
			requireFailure(t, c.Handshake(), StageConfig, AlertInternal, Local, ErrConfig)
			requireDead(t, c)
			require.Zero(t, c.ConnectionState())
			require.Error(t, c.CloseWrite())
			require.ErrorIs(t, c.Close(), net.ErrClosed)
		}
	}
	_, err := Dial(t.Context(), "tcp", "127.0.0.1:1", new(Config))
	requireFailure(t, err, StageConfig, AlertInternal, Local, ErrConfig)
	w := newWorld(t)
	good, _ := w.configs(serverAttests)
	_, err = Dial(t.Context(), "tcp", "no port", good)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, StageConfig, e.Stage)
}

// Whoever adds a field decides here what it means to this test.
func TestConfigFields(t *testing.T) {
	t.Parallel()
	known := []string{
		"TLS", "Attester", "Verifier", "Identities", "ClientFirst", "AttestedKeyOnly", "PinnedServerKeys",
		"RequireSameLeaf", "RequireOCSPStaple", "CheckRevocation", "Nonce", "Profile", "Timeout", "VerifierTimeout",
		"RootsForURI", "GetIdentities", "Reattest", "ReattestEvery", "AllowKeyChange", "BeforeReattest", "AfterReattest", "Reattested",
		"MaxAuthenticator", "MaxExchanges", "Refused", "Trace",
		"once", "prepared", "err",
	}
	typ := reflect.TypeFor[Config]()
	for i := range typ.NumField() {
		require.Contains(t, known, typ.Field(i).Name, "a field without a test")
	}
	require.Len(t, known, typ.NumField())
}

// fields are the values of a tls.Config that can be compared, functions by address.
func fields(c *tls.Config) map[string]any {
	out := map[string]any{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.Func:
			out[f.Name] = v.Field(i).Pointer()
		default:
			out[f.Name] = v.Field(i).Interface()
		}
	}
	return out
}

// Config.TLS is never modified, whatever the connections did.
func TestConfigTLSStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cc, sc := w.configs(mutual)
	cc.TLS.NextProtos, sc.TLS.NextProtos = []string{"a", "b"}, []string{"b"}
	cc.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	sc.TLS.MinVersion, cc.TLS.MinVersion = tls.VersionTLS12, tls.VersionTLS12
	sc.TLS.ClientAuth = tls.RequestClientCert
	sc.TLS.WrapSession = func(tls.ConnectionState, *tls.SessionState) ([]byte, error) { return nil, errors.New("not called") }
	sc.TLS.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &w.server, nil }
	sc.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return sc.TLS, nil }
	before := []any{fields(cc.TLS), fields(sc.TLS)}
	protocols := slices.Clone(cc.TLS.NextProtos)
	for range 2 {
		_, _, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
	}
	require.Equal(t, before, []any{fields(cc.TLS), fields(sc.TLS)})
	require.Equal(t, protocols, cc.TLS.NextProtos)
}

// One Config serves both roles, at the same time.
func TestConfigForBothRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	make := func(id tls.Certificate) *Config {
		pool := x509.NewCertPool()
		pool.AddCert(w.ca.Root)
		return &Config{Attester: &toy{}, Verifier: &toy{}, TLS: &tls.Config{Certificates: []tls.Certificate{id}, RootCAs: pool, ClientCAs: pool, ServerName: serverName}}
	}
	a, b := make(w.server), make(leaf(t, w.ca, serverName))
	t.Run("both", func(t *testing.T) {
		for range 4 {
			for _, pair := range [][2]*Config{{a, b}, {b, a}} {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					c, s, err1, err2 := connect(t, pair[0], pair[1])
					require.NoError(t, errors.Join(err1, err2))
					echo(t, c, s, "hello")
				})
			}
		}
	})
}
