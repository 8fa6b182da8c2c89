package proxy

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/verifier/ear"
)

func TestNewRemote(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	key, err := appraise.TestKey(dir)
	require.NoError(t, err)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{Key: key, Name: "n", Developer: "d", Build: "b"})
	require.NoError(t, err)
	jwks, err := issuer.JWKS()
	require.NoError(t, err)
	require.NoError(t, appraise.WriteJWKS(dir, jwks))
	good := config.Remote{URL: "https://v.example", Keys: filepath.Join(dir, appraise.JWKSFile), Issuer: "n", MediaTypes: []string{"a/b"}, Roots: filepath.Join(dir, "s/ca.pem")}
	_, stop, err := newRemote(&good)
	require.NoError(t, err)
	require.NoError(t, stop())
	for name, change := range map[string]func(*config.Remote){
		"url": func(c *config.Remote) { c.URL = "http://v.example" }, "keys": func(c *config.Remote) { c.Keys = "/nowhere" },
		"issuer": func(c *config.Remote) { c.Issuer = "" }, "roots": func(c *config.Remote) { c.Roots = c.Keys },
	} {
		bad := good
		change(&bad)
		_, _, err := newRemote(&bad)
		require.Error(t, err, name)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	newAuthority(t, dir, "backends").write(t, "cert", "localhost")
	writeKey(t, dir, "sign.pem")
	good := head + strings.Replace(serverSide("127.0.0.1:1", "mode: http", "result: {key: sign.pem}",
		"backend_tls: {roots: backends.pem, server_name: x, certificate: cert.pem, key: cert-key.pem}"),
		"{attester: simulated, state: s}", "{certificate: cert.pem, key: cert-key.pem}", 1)
	path := filepath.Join(dir, "check.yaml")
	replace(t, path, []byte(good))
	f, err := Check(t.Context(), path)
	require.NoError(t, err)
	require.Len(t, f.Proxies, 1)
	for _, tc := range []struct{ old, new, want string }{
		{"roots: s/ca.pem", "roots: nowhere.pem", "web: roots: "},
		{"{key: sign.pem}", "{key: cert.pem}", "web: result: "},
		{"{roots: backends.pem", "{roots: sign.pem", "web: backend_tls: "},
		{"certificate: cert.pem, key: cert-key.pem}\n    roots", "certificate: cert.pem, key: sign.pem}\n    roots", "web: identity: "},
		{"s/policy-client.yaml", "cert.pem", "web: verify: "},
		{"x, certificate: cert.pem", "x, certificate: nowhere.pem", "web: backend_tls: "},
		{"version: 1", "version: 2", "version"},
	} {
		text := strings.Replace(good, tc.old, tc.new, 1)
		require.NotEqual(t, good, text, tc.old)
		replace(t, path, []byte(text))
		_, err := Check(t.Context(), path)
		require.ErrorContains(t, err, tc.want)
	}
	replace(t, path, []byte(head+serverSide("127.0.0.1:1")))
	_, err = Check(t.Context(), path)
	require.NoError(t, err)
	_, err = Check(t.Context(), filepath.Join(dir, "none.yaml"))
	require.ErrorContains(t, err, "the file cannot be read")
}

// An attester whose device is not there.
func TestNoDevice(t *testing.T) {
	t.Parallel()
	for _, attester := range []string{"sevsnp", "tdx"} {
		own, err := newOwn(t.Context(), &config.Proxy{Identity: &config.Identity{Attester: attester}})
		if err == nil { // a confidential VM
			require.NotNil(t, own.Attester)
			require.NoError(t, own.Close())
		}
	}
	_, err := newOwn(t.Context(), &config.Proxy{Identity: &config.Identity{Attester: "tpm", State: t.TempDir(), TPM: "/nowhere"}})
	require.Error(t, err)
}

func TestSampledLog(t *testing.T) {
	t.Parallel()
	b := new(buffer)
	l := &sampledLog{log: newLog(b, config.Log{Format: "json", Level: "info"}), kinds: make(map[string]*kind)}
	for time.Now().Nanosecond() > 5e8 { // all in one second
		time.Sleep(10 * time.Millisecond)
	}
	for range perSecond + 5 {
		l.write(0, "a", "line")
		l.write(-4, "b", "debug")
	}
	l.write(0, "c", "other")
	require.Equal(t, perSecond, b.lines(t, "line"))
	require.Equal(t, 1, b.lines(t, "other"))
	require.Zero(t, b.lines(t, "debug"))
	time.Sleep(time.Second)
	l.write(0, "a", "line")
	require.Equal(t, 1, b.lines(t, "line", `"suppressed":5`))
	text := new(buffer)
	newLog(text, config.Log{Format: "text", Level: "warn"}).Warn("x")
	require.Contains(t, text.String(), "level=WARN msg=x")
}

// What a peer can put into an error fills no log.
func TestOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a; b", oneLine(errors.Join(errors.New("a"), errors.New("b"))))
	require.Equal(t, strings.Repeat("x", maxText), oneLine(errors.New(strings.Repeat("x", maxText))))
	long := oneLine(errors.New(strings.Repeat("é", maxText)))
	require.Equal(t, strings.Repeat("é", maxText/2)+" …", long)
}
