package proxy

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/service"
)

// verifierOf is a Verifier elsewhere that judges one side of DIR/s, and signs with a key
// of its own, whose JWK Set is in DIR/NAME.
type verifierOf struct {
	*httptest.Server
	handler  *service.Handler
	name     string
	sessions atomic.Int64
	tls      *tls.Config // of clients; nil: plain HTTP
	allowed  func(*http.Request) bool
}

func newVerifier(t *testing.T, dir, name string, judged state.Side, change func(*verifierOf)) *verifierOf {
	t.Helper()
	judge, err := platform.Judge(filepath.Join(dir, "s"), platform.Simulated, judged)
	require.NoError(t, err)
	own := filepath.Join(dir, name)
	require.NoError(t, os.Mkdir(own, 0o700))
	key, err := appraise.TestKey(own)
	require.NoError(t, err)
	id, err := appraise.KeyID(key)
	require.NoError(t, err)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{Key: key, KeyID: id, Name: "expat-verifier", Developer: "d", Build: "b"})
	require.NoError(t, err)
	jwks, err := issuer.JWKS()
	require.NoError(t, err)
	require.NoError(t, appraise.WriteJWKS(own, jwks))
	v := &verifierOf{name: name, allowed: func(*http.Request) bool { return true }}
	v.handler, err = service.NewHandler(service.Options{Verifier: judge, Issuer: issuer})
	require.NoError(t, err)
	v.Server = httptest.NewUnstartedServer(http.HandlerFunc(v.serve))
	v.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(v)
	}
	if v.tls == nil {
		v.Start()
	} else {
		v.TLS = v.tls
		v.StartTLS()
	}
	t.Cleanup(v.Close)
	return v
}

func (v *verifierOf) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "newSession") {
		v.sessions.Add(1)
	}
	if !v.allowed(r) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	v.handler.ServeHTTP(w, r)
}

// fields are what a configuration says of it.
func (v *verifierOf) fields() string {
	return `url: "` + v.URL + `", plain_http_to_loopback: true, keys: ` + v.name + `/verifier-jwks.json, media_types: ['` + simulated.MediaType + `'], send_key: true`
}

// Two of three must agree: one can be down, two cannot.
func TestQuorum(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	one, two := newVerifier(t, dir, "one", state.Client, nil), newVerifier(t, dir, "two", state.Client, nil)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	quorum := "{quorum: {need: 2, members: [{name: here, policy: s/policy-client.yaml}, {name: one, remote: {" + one.fields() + "}}, {name: two, remote: {" + two.fields() + "}}]}}"
	server := start(t, dir, strings.Replace(serverSide(b.addr), "{policy: s/policy-client.yaml}", quorum, 1))
	client := start(t, dir, clientSide(server.addrs["web"]))
	accepted := func() {
		t.Helper()
		got, err := ask(t, client.addrs["out"], "hello")
		require.NoError(t, err)
		require.Equal(t, "hello and the end", got)
	}
	accepted()
	require.EqualValues(t, 1, one.sessions.Load())
	require.EqualValues(t, 1, two.sessions.Load())
	one.Close()
	accepted()

	// The policy of a member is reloaded as any other.
	name := filepath.Join(dir, "s/policy-client.yaml")
	good, err := os.ReadFile(name)
	require.NoError(t, err)
	replace(t, name, []byte("version: 2\n"))
	eventually(t, func() bool { return server.log.lines(t, "policy not changed", name) == 1 }, "a bad policy is told of")
	require.EqualValues(t, 1, server.metric("policy_reloads_total", `outcome="failed",proxy="web"`))
	accepted()
	replace(t, name, good)

	two.Close()
	_, err = ask(t, client.addrs["out"], "hello")
	require.Error(t, err)
	eventually(t, func() bool {
		return server.metric("refusals_total", `proxy="web",reason="verifier_unavailable",side="local"`) == 1
	}, "counted")
	eventually(t, func() bool { return server.log.lines(t, "refused", "2 of 3 needed, 1 said yes and 0 no") == 1 }, "told of")
	require.EqualValues(t, 3, b.conns.Load())
}

// A side shows what a Verifier said of it, for each connection or beforehand, and its
// peer takes that which was made for the connection, unless it says otherwise.
func TestPassports(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	v := newVerifier(t, dir, "v", state.Server, nil)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	run := func(shown, accepted string) (server, client *running) {
		shown = "state: s, passport: {" + v.fields() + "}" + shown + "}"
		server = start(t, dir, strings.Replace(serverSide(b.addr), "state: s}", shown, 1))
		accepted = "{passport: {keys: v/verifier-jwks.json" + accepted + "}}"
		client = start(t, dir, strings.Replace(clientSide(server.addrs["web"]), "{policy: s/policy-server.yaml}", accepted, 1))
		return server, client
	}
	for name, c := range map[string]struct {
		shown, accepted string
		good            bool
	}{
		"for the connection":                   {"", "", true},
		"beforehand":                           {", passport_cached: true", ", key_bound: true", true},
		"beforehand, not accepted":             {", passport_cached: true", "", false},
		"for the connection, of somebody else": {"", ", issuer: somebody", false},
		"for the connection, for others":       {"", ", audience: others", false},
	} {
		_, client := run(c.shown, c.accepted)
		for range 2 {
			got, err := ask(t, client.addrs["out"], "hello")
			if c.good {
				require.NoError(t, err, name)
				require.Equal(t, "hello and the end", got, name)
			} else {
				require.Error(t, err, name)
			}
		}
		if !c.good {
			eventually(t, func() bool {
				return client.metric("refusals_total", `proxy="out",reason="attestation_rejected",side="local"`) == 2
			}, name)
		}
	}

	before := v.sessions.Load()
	server, client := run(", passport_cached: true", ", key_bound: true")
	eventually(t, func() bool { return v.sessions.Load() == before+1 }, "asked once, and beforehand")
	v.Close()
	for range 2 {
		_, err := ask(t, client.addrs["out"], "hello")
		require.NoError(t, err, "the Verifier need not be up")
	}
	require.EqualValues(t, before+1, v.sessions.Load())
	require.EqualValues(t, 2, server.metric("handshakes_total", `outcome="accepted",proxy="web"`))

	server, client = run("", "")
	_, err := ask(t, client.addrs["out"], "hello")
	require.Error(t, err, "now it must be")
	eventually(t, func() bool {
		return server.metric("handshakes_total", `outcome="refused",proxy="web"`) == 1
	}, "counted")
}

// A Verifier that answers to those it knows, by certificate and token, whose keys are
// fetched.
func TestVerifierKnowsItsClients(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	a := newAuthority(t, dir, "verifiers")
	a.write(t, "ours", "sidecar")
	var token atomic.Value
	token.Store("first")
	replace(t, filepath.Join(dir, "token"), []byte("first\n"))
	v := newVerifier(t, dir, "v", state.Client, func(v *verifierOf) {
		v.tls = &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.leaf(t, "127.0.0.1")},
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: a.ca.Pool(),
		}
		v.allowed = func(r *http.Request) bool {
			return r.URL.Path == "/.well-known/jwks.json" ||
				len(r.TLS.VerifiedChains) > 0 && r.Header.Get("Authorization") == "Bearer "+token.Load().(string)
		}
	})
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	fields := strings.Replace(v.fields(), "v/verifier-jwks.json", v.URL+"/.well-known/jwks.json", 1) +
		", roots: verifiers.pem, certificate: ours.pem, key: ours-key.pem, token: token"
	server := start(t, dir, strings.Replace(serverSide(b.addr), "{policy: s/policy-client.yaml}", "{remote: {"+fields+"}}", 1))
	client := start(t, dir, clientSide(server.addrs["web"]))
	_, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)

	// A token is read for each request. Half of a new pair does not fit: the one before
	// is shown.
	token.Store("second")
	_, err = ask(t, client.addrs["out"], "hello")
	require.Error(t, err)
	replace(t, filepath.Join(dir, "token"), []byte("second"))
	replace(t, filepath.Join(dir, "ours.pem"), []byte("half"))
	v.CloseClientConnections()
	_, err = ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)

	// One whose authority the Verifier does not know is shown as soon as it is there.
	other := newAuthority(t, dir, "others")
	other.write(t, "ours", "sidecar")
	v.CloseClientConnections()
	_, err = ask(t, client.addrs["out"], "hello")
	require.Error(t, err)
}

func TestRemoteFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t, dir, "cas")
	a.write(t, "pair", "x")
	in := func(name string) string { return filepath.Join(dir, name) }
	replace(t, in("token"), []byte(" t \n"))
	replace(t, in("two"), []byte("t t"))
	replace(t, in("none"), []byte("\n"))
	good := config.Remote{URL: "https://v.example", Keys: "https://v.example/keys", Issuer: "n", MediaTypes: []string{"a/b"},
		Roots: in("cas.pem"), Certificate: in("pair.pem"), Key: in("pair-key.pem"), Token: in("token"), ReportDataTypes: []string{"a/b"}}
	_, stop, err := newRemote(&good)
	require.NoError(t, err)
	require.NoError(t, stop())
	for name, change := range map[string]func(*config.Remote){
		"keys over http": func(c *config.Remote) { c.Keys = "http://v.example/keys" }, "roots of keys": func(c *config.Remote) { c.Roots = in("token") },
		"certificate": func(c *config.Remote) { c.Certificate = in("token") }, "key": func(c *config.Remote) { c.Key = in("nowhere") },
		"token": func(c *config.Remote) { c.Token = in("nowhere") }, "two tokens": func(c *config.Remote) { c.Token = in("two") },
		"no token": func(c *config.Remote) { c.Token = in("none") }, "types": func(c *config.Remote) { c.ReportDataTypes = []string{"c/d"} },
	} {
		bad := good
		change(&bad)
		_, _, err := newRemote(&bad)
		require.Error(t, err, name)
	}
}
