package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/internal/strictyaml"
)

const server = `version: 1
proxies:
  - name: web
    side: server
    listen: ":8443"
    upstreams: ["127.0.0.1:8080"]
    identity: {attester: sevsnp, certificate: c.pem, key: k.pem}
    roots: r.pem
    verify: {policy: p.yaml}
`

const client = `version: 1
proxies:
  - name: out
    side: client
    listen: 127.0.0.1:8080
    upstreams: ["example.com:8443"]
    server_name: example.com
    roots: r.pem
    verify: {policy: p.yaml}
`

func TestDefaults(t *testing.T) {
	t.Parallel()
	f, err := Parse("/etc/x/sidecar.yaml", []byte(server))
	require.NoError(t, err)
	p := f.Proxies[0]
	require.Equal(t, Log{"json", "info"}, f.Log)
	require.Equal(t, 30*time.Second, f.Shutdown.Timeout)
	require.Zero(t, f.Shutdown.Delay)
	require.Nil(t, f.Admin)
	require.Equal(t, TCP, p.Mode)
	require.Equal(t, Limits{4096, 256, 100, 256}, p.Limits)
	require.Equal(t, Timeouts{10 * time.Second, 5 * time.Second, 5 * time.Minute, time.Minute}, p.Timeouts)
	require.Equal(t, "/etc/x/c.pem", p.Identity.Certificate)
	require.Equal(t, []string{"/etc/x/r.pem", "/etc/x/c.pem", "/etc/x/k.pem"}, f.Reloaded())

	f, err = Parse("/etc/x/sidecar.yaml", []byte(client))
	require.NoError(t, err)
	require.Equal(t, Limits{4096, 0, 0, 256}, f.Proxies[0].Limits, "on loopback all clients are one")
}

// Both the reader and the schema, which knows the form alone.
func TestErrors(t *testing.T) {
	t.Parallel()
	s := compiled(t)
	for _, tc := range []struct {
		name, text, old, new string
		want                 string // "": good
		form                 bool   // the schema sees it too
	}{
		{"server", server, "", "", "", false},
		{"client", client, "", "", "", false},
		{"version missing", server, "version: 1\n", "", "version: this program does not know version 0", true},
		{"other version", server, "version: 1", "version: 2", "version: this program", false},
		{"version as text", server, "version: 1", `version: "1"`, `version: it is "1"; write a number`, true},
		{"unknown field", server, "roots: r.pem", "root: r.pem", `proxies[0].root: there is no such field; did you mean roots?`, true},
		{"field twice", server, "roots: r.pem", "roots: r.pem\n    roots: r.pem", "proxies[0].roots: it stands here twice", false},
		{"empty list", server, `["127.0.0.1:8080"]`, "[]", "proxies[0].upstreams: it is no list with items", true},
		{"empty text", server, "r.pem", `""`, "proxies[0].roots: it is empty", true},
		{"number for text", server, "r.pem", "7", `proxies[0].roots: it is a number to YAML; write it in quotes: "7"`, true},
		{"control character", server, "r.pem", `"a\nb"`, "it holds a control character", false},
		{"side", server, "side: server", "side: both", `proxies[0].side: it is "both"; write server or client`, true},
		{"no side", server, "    side: server\n", "", "proxies[0].side: it is missing", true},
		{"anchor", server, "r.pem", "&a r.pem", "proxies[0].roots: it has an anchor", false},
		{"tag", server, "r.pem", "!x r.pem", "it has the tag", false},
		{"octal", server, "roots:", "limits: {connections: 010}\n    roots:", `it is "010"; write a number such as 100`, false},
		{"no section", server, "{policy: p.yaml}", "p.yaml", "proxies[0].verify: it is no section with fields", true},
		{"name", server, "name: web", "name: Web", `proxies[0].name: "Web" is no name`, false},
		{"listen without port", server, `":8443"`, "127.0.0.1", "proxies[0].listen: \"127.0.0.1\" is no address to listen on", false},
		{"listen on a name", server, `":8443"`, "localhost:1", "is no address to listen on", false},
		{"relative socket", server, `":8443"`, "unix:x", "proxies[0].listen: it is no absolute path", false},
		{"socket", server, `":8443"`, "unix:/run/x", "", false},
		{"long socket", server, `":8443"`, "unix:/" + strings.Repeat("x", 103), "it is no absolute path of less than 104 bytes", false},
		{"upstream without port", server, "127.0.0.1:8080", "127.0.0.1", "proxies[0].upstreams[0]: \"127.0.0.1\" is no address", false},
		{"upstream port 0", server, "127.0.0.1:8080", "127.0.0.1:0", "is no address", false},
		{"relative upstream socket", server, "127.0.0.1:8080", "unix:x", "proxies[0].upstreams[0]: it is no absolute path", false},
		{"upstream socket", server, "127.0.0.1:8080", "unix:/x", "", false},
		{"plain upstream on a network", server, "127.0.0.1:8080", "10.0.0.1:8080", "would be sent plain text; use backend_tls, or set plain_upstreams_on_network", false},
		{"the same allowed", server, `["127.0.0.1:8080"]`, `["10.0.0.1:8080"]` + "\n    plain_upstreams_on_network: true", "", false},
		{"the same with TLS", server, `["127.0.0.1:8080"]`, `["10.0.0.1:8080"]` + "\n    backend_tls: {roots: b.pem, server_name: b}", "", false},
		{"upstream ::1", server, "127.0.0.1:8080", "[::1]:8080", "", false},
		{"upstream mapped", server, "127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", "", false},
		{"plain listener on a network", client, "listen: 127.0.0.1", "listen: 10.0.0.1", "proxies[0].listen: it is not a loopback address; listen on loopback, or set plain_listener_on_network", false},
		{"on all addresses", client, "listen: 127.0.0.1:8080", `listen: ":8080"`, "it is not a loopback address", false},
		{"the same allowed", client, "listen: 127.0.0.1:8080", `listen: ":8080"` + "\n    plain_listener_on_network: true", "", false},
		{"no server name", client, "    server_name: example.com\n", "", "proxies[0].server_name: it is missing", false},
		{"no roots", client, "    roots: r.pem\n", "", "proxies[0].roots: it is missing", false},
		{"server name of a server", server, "roots:", "server_name: x\n    roots:", "proxies[0].server_name: it means nothing here; remove it; it belongs on the client side", false},
		{"nothing attested", client, "    verify: {policy: p.yaml}\n", "", "proxies[0]: nothing is attested", false},
		{"no identity", server, "    identity: {attester: sevsnp, certificate: c.pem, key: k.pem}\n", "", "proxies[0].identity: it is missing", false},
		{"no key", server, ", key: k.pem", "", "proxies[0].identity: one of certificate and key is missing", false},
		{"attester", server, "sevsnp", "sgx", `proxies[0].identity.attester: "sgx" is not known`, false},
		{"attester twice", server, "sevsnp", "tpm+tpm", `"tpm+tpm" is not known`, false},
		{"several without tpm", server, "sevsnp", "sevsnp+tdx", "it has no tpm", false},
		{"tpm with files", server, "sevsnp", "tpm", "its key is not in a file", false},
		{"state and files", server, "certificate: c.pem", "state: s, certificate: c.pem", "it has not exactly one of certificate and state", false},
		{"names with files", server, "certificate: c.pem", "names: [x], certificate: c.pem", "names and expose_test_keys are for state", false},
		{"test keys exposed", server, "sevsnp, certificate: c.pem, key: k.pem", "simulated, state: s", "set identity.expose_test_keys, which says what is lost", false},
		{"the same allowed", server, "sevsnp, certificate: c.pem, key: k.pem", "simulated, state: s, expose_test_keys: true", "", false},
		{"state without attester", server, "attester: sevsnp, certificate: c.pem, key: k.pem", "state: s, expose_test_keys: true", "with state, name an attester", false},
		{"names of a TPM", server, "sevsnp, certificate: c.pem, key: k.pem", "sevsnp+tpm, state: s, expose_test_keys: true, names: [x]", "the certificate of a TPM is there already", false},
		{"no policy", server, "{policy: p.yaml}", "{remote: {url: u, keys: k, media_types: [m]}, policy: p.yaml}", "it has not exactly one of policy, remote, quorum and passport; give one", false},
		{"remote", server, "{policy: p.yaml}", "{remote: {url: u, keys: k, media_types: [m]}}", "", false},
		{"remote without url", server, "{policy: p.yaml}", "{remote: {keys: k, media_types: [m]}}", "verify.remote.url: it is missing", true},
		{"remote without keys", server, "{policy: p.yaml}", "{remote: {url: u, media_types: [m]}}", "verify.remote.keys: it is missing", true},
		{"remote without types", server, "{policy: p.yaml}", "{remote: {url: u, keys: k}}", "verify.remote.media_types: it is missing", false},
		{"remote with half a pair", server, "{policy: p.yaml}", "{remote: {url: u, keys: k, media_types: [m], certificate: c}}", "verify.remote: one of certificate and key is missing", false},
		{"remote with all", server, "{policy: p.yaml}", "{remote: {url: u, keys: k, media_types: [m], certificate: c, key: d, token: t, audience: a, report_data_types: [m]}}", "", false},
		{"quorum", server, "{policy: p.yaml}", "{quorum: {need: 2, members: [{name: a, policy: p}, {name: b, remote: {url: u, keys: k, media_types: [m]}}]}}", "", false},
		{"quorum of one", server, "{policy: p.yaml}", "{quorum: {need: 1, members: [{name: a, policy: p}]}}", "quorum.members: there are 1; list 2 to 16", false},
		{"quorum of none", server, "{policy: p.yaml}", "{quorum: {need: 1}}", "quorum.members: there are 0", true},
		{"quorum of many", server, "{policy: p.yaml}", "{quorum: {need: 1, members: [" + strings.Repeat("{name: a, policy: p},", 17) + "]}}", "quorum.members: there are 17", false},
		{"quorum without need", server, "{policy: p.yaml}", "{quorum: {members: [{name: a, policy: p}, {name: b, policy: p}]}}", "quorum.need: 0 of 2 members cannot agree; write how many of them must", true},
		{"quorum of three in two", server, "{policy: p.yaml}", "{quorum: {need: 3, members: [{name: a, policy: p}, {name: b, policy: p}]}}", "quorum.need: 3 of 2 members cannot agree", false},
		{"member twice", server, "{policy: p.yaml}", "{quorum: {need: 1, members: [{name: a, policy: p}, {name: a, policy: p}]}}", "quorum.members[1].name: another member has it", false},
		{"member without name", server, "{policy: p.yaml}", "{quorum: {need: 1, members: [{name: a, policy: p}, {policy: p}]}}", `quorum.members[1].name: "" is no name`, true},
		{"member of nothing", server, "{policy: p.yaml}", "{quorum: {need: 1, members: [{name: a, policy: p}, {name: b}]}}", "quorum.members[1]: it has not exactly one of policy and remote", false},
		{"member without url", server, "{policy: p.yaml}", "{quorum: {need: 1, members: [{name: a, policy: p}, {name: b, remote: {keys: k, media_types: [m]}}]}}", "quorum.members[1].remote.url: it is missing", true},
		{"passport", server, "{policy: p.yaml}", "{passport: {keys: 'https://v.example/jwks', key_bound: true, max_age: 1s}}", "", false},
		{"passport without keys", server, "{policy: p.yaml}", "{passport: {key_bound: true}}", "verify.passport.keys: it is missing", true},
		{"passport with roots of nothing", server, "{policy: p.yaml}", "{passport: {keys: k, roots: r}}", "verify.passport.roots: it means nothing here; remove it; it belongs to a URL in keys", false},
		{"passport too young", server, "{policy: p.yaml}", "{passport: {keys: k, max_age: 999ms}}", "verify.passport.max_age: it is too short; write at least 1s", false},
		{"own passport", server, "attester: sevsnp,", "attester: sevsnp, passport: {url: u, keys: k}, passport_cached: true,", "", false},
		{"own passport without url", server, "attester: sevsnp,", "attester: sevsnp, passport: {keys: k},", "identity.passport.url: it is missing", true},
		{"own passport of nothing", server, "attester: sevsnp,", "passport: {url: u, keys: k},", "identity.passport: there is no attester", false},
		{"cached nothing", server, "attester: sevsnp,", "attester: sevsnp, passport_cached: true,", "identity.passport_cached: there is no passport", false},
		{"reattest_every", server, "roots:", "reattest_every: 1s\n    roots:", "", false},
		{"reattest_every too short", server, "roots:", "reattest_every: 999ms\n    roots:", "proxies[0].reattest_every: it is too short", false},
		{"reattest_every of nobody", server, "    verify: {policy: p.yaml}\n", "    reattest_every: 1s\n", "proxies[0].reattest_every: it means nothing here", false},
		{"reattest_every zero", server, "roots:", "reattest_every: 0s\n    roots:", `"0s" is no time above zero`, false},
		{"proxy protocol", server, "roots:", "proxy_protocol: v2\n    roots:", "", false},
		{"proxy protocol 1", server, "roots:", "proxy_protocol: v1\n    roots:", "write v2", true},
		{"proxy protocol in http", server, "roots:", "proxy_protocol: v2\n    mode: http\n    roots:", "it belongs on the server side in mode tcp", false},
		{"result in tcp", server, "roots:", "result: {key: k}\n    roots:", "it belongs in mode http, with verify", false},
		{"result", server, "roots:", "mode: http\n    result: {key: k, lifetime: 1h}\n    roots:", "", false},
		{"result too long", server, "roots:", "mode: http\n    result: {key: k, lifetime: 61m}\n    roots:", "result.lifetime: it is out of range; write 1s to 1h", false},
		{"result too short", server, "roots:", "mode: http\n    result: {key: k, lifetime: 999ms}\n    roots:", "result.lifetime: it is out of range", false},
		{"result without key", server, "roots:", "mode: http\n    result: {audience: k}\n    roots:", "result.key: it is missing", true},
		{"backend without roots", server, "roots:", "backend_tls: {server_name: x}\n    roots:", "backend_tls.roots: it is missing", true},
		{"backend without name", server, "roots:", "backend_tls: {roots: x}\n    roots:", "backend_tls.server_name: it is missing", true},
		{"backend without key", server, "roots:", "backend_tls: {roots: x, server_name: x, certificate: c}\n    roots:", "one of certificate and key is missing", false},
		{"backend of a client", client, "roots:", "backend_tls: {roots: x, server_name: x}\n    roots:", "it belongs on the server side", false},
		{"limit", server, "roots:", "limits: {connections: 1048577}\n    roots:", "limits.connections: it is too high; write at most 1048576", false},
		{"negative limit", server, "roots:", "limits: {connections: -1}\n    roots:", "it is \"-1\"; write a number", true},
		{"timeout", server, "roots:", "timeouts: {idle: 9ms}\n    roots:", "timeouts.idle: it is too short; write at least 10ms", false},
		{"timeout as number", server, "roots:", "timeouts: {idle: 9}\n    roots:", "is no time above zero", true},
		{"flag", server, "roots:", "reattest: yes\n    roots:", `proxies[0].reattest: it is "yes"; write true or false`, true},
		{"admin on a network", server, "proxies:", "admin: {listen: \"0.0.0.0:9090\"}\nproxies:", "admin.listen: it is not a loopback address; set on_network", false},
		{"admin", server, "proxies:", "admin: {listen: \"0.0.0.0:9090\", on_network: true}\nproxies:", "", false},
		{"listener twice", server, "proxies:", "admin: {listen: \":8443\", on_network: true}\nproxies:", "proxies[0].listen: another listener has it", false},
		{"interval", server, "proxies:", "reload: {interval: 9ms}\nproxies:", "reload.interval: it is too short", false},
		{"name twice", server + strings.TrimPrefix(strings.ReplaceAll(server, "8443", "8444"), "version: 1\nproxies:\n"), "", "", "proxies[1].name: another proxy has it", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(tc.text, tc.old, tc.new, 1)
			if tc.old != "" {
				require.NotEqual(t, tc.text, text)
			}
			f, err := Parse("x.yaml", []byte(text))
			if tc.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.want)
				require.ErrorIs(t, err, ErrFile)
				require.Nil(t, f)
				require.Positive(t, Errors(err)[0].Line)
			}
			var doc any
			if yaml.Unmarshal([]byte(text), &doc) != nil {
				return // a field twice
			}
			err = s.Validate(doc)
			require.Equal(t, tc.form, err != nil, "schema: %v", err)
		})
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "x.yaml")
	f, err := Load(name, strictyaml.Read)
	require.Nil(t, f)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, ErrFile)
	require.EqualError(t, err, name+": the file cannot be read: stat "+name+": no such file or directory; name a configuration file")
	require.Len(t, Errors(err), 1)
	require.NoError(t, os.WriteFile(name, []byte("7"), 0o600))
	_, err = Load(name, strictyaml.Read)
	require.EqualError(t, err, name+`:1:1: it is a number to YAML, not a configuration; start it with "version: 1"`)
	require.NoError(t, os.WriteFile(name, []byte(server), 0o600))
	f, err = Load(name, strictyaml.Read)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "r.pem"), f.Proxies[0].Roots)
}

func TestFixed(t *testing.T) {
	t.Parallel()
	f, err := Parse("x.yaml", []byte(server))
	require.NoError(t, err)
	for text, same := range map[string]bool{
		strings.Replace(server, "8080", "8081", 1):                                 true,
		strings.Replace(server, "r.pem", "r2.pem", 1):                              true,
		strings.Replace(server, "c.pem", "c2.pem", 1):                              true,
		strings.Replace(server, "roots", "limits: {connections: 1}\n    roots", 1): true,
		strings.Replace(server, "p.yaml", "p2.yaml", 1):                            false,
		strings.Replace(server, "sevsnp", "tdx", 1):                                false,
		strings.Replace(server, "roots", "limits: {exchanges: 1}\n    roots", 1):   false,
		strings.Replace(server, "8443", "8444", 1):                                 false,
	} {
		other, err := Parse("x.yaml", []byte(text))
		require.NoError(t, err)
		if same {
			require.Equal(t, f.Fixed(), other.Fixed())
		} else {
			require.NotEqual(t, f.Fixed(), other.Fixed())
		}
	}
	require.Equal(t, "c.pem", filepath.Base(f.Proxies[0].Identity.Certificate), "the file itself is not touched")
}

// Whatever a file holds: an error of ours, or a complete configuration.
func FuzzParse(f *testing.F) {
	seeds := []string{server, client, "", "a: &a [*a]", "proxies: [[[[[[]]]]]]", strings.Replace(server, "roots", "limits: {connections: 1}\n    roots", 1)}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("x.yaml", b)
		if err != nil {
			if c != nil || len(Errors(err)) == 0 || !errors.Is(err, ErrFile) {
				t.Fatalf("%v, %v", c, err)
			}
			return
		}
		for _, p := range c.Proxies {
			if p.Timeouts.Handshake <= 0 || p.Limits.Connections <= 0 || len(p.Upstreams) == 0 || (p.Verify == nil && p.Identity.Attester == "") {
				t.Fatalf("%+v", p)
			}
		}
	})
}
