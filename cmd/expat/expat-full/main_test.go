package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"github.com/veraison/go-cose"

	"github.com/expat-go/expat/cmd/expat/internal/cli"
	"github.com/expat-go/expat/cmd/expat/internal/state"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"expat":      func() { os.Exit(cli.Main()) },
		"expat-full": main,
	})
}

// command runs a command in a directory.
func command(t *testing.T, dir string, code int, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	out, _ := c.CombinedOutput()
	require.Equal(t, code, c.ProcessState.ExitCode(), "%s %q: %s", name, args, out)
	return string(out)
}

const profile = "https://vendor.example/profiles/demo"

// release signs a CoRIM (draft-ietf-rats-corim) for a model of hardware, with one
// digest for each of the measurements.
func release(t *testing.T, key *ecdsa.PrivateKey, model string, measurements []state.Measurement) []byte {
	t.Helper()
	type m = map[int]any
	encode := func(v any) []byte {
		b, err := cbor.Marshal(v)
		require.NoError(t, err)
		return b
	}
	var values []any
	for _, v := range measurements {
		values = append(values, m{0: v.Name, 1: m{2: []any{[]any{1, []byte(v.SHA256)}}}})
	}
	comid := m{1: m{0: "demo-image"}, 4: m{0: []any{[]any{m{0: m{2: model}}, values}}}}
	manifest := m{0: "release-1", 1: []any{cbor.Tag{Number: 506, Content: encode(comid)}}, 3: cbor.Tag{Number: 32, Content: profile}}
	signer, err := cose.NewSigner(cose.AlgorithmES256, key)
	require.NoError(t, err)
	b, err := cose.Sign1(rand.Reader, signer, cose.Headers{Protected: cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: cose.AlgorithmES256, cose.HeaderLabelContentType: "application/rim+cbor",
		int64(8): encode(m{0: m{0: "vendor"}}),
	}}, encode(cbor.Tag{Number: 501, Content: manifest}), nil)
	require.NoError(t, err)
	return b
}

// A policy file with a rule in CEL and a signed CoRIM is checked, explained and used by
// this program; the plain one names it.
func TestPolicyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	command(t, dir, 0, "expat", "demo", "--state", "s", "--save-evidence", "server.cmw")
	trust, err := state.Load(filepath.Join(dir, "s"), time.Now())
	require.NoError(t, err)
	server := trust.Reference.Server
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	write := func(name string, b []byte) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600)) }
	write("vendor.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	policy := func(name, file, cel string) {
		write(name, fmt.Appendf(nil, `version: 1
name: full
environments:
  - platform: simulated
    roots: [{file: s/simulated-root.pem}]
    any_instance: true
    min_versions: {%s: "1.0"}
    reference_values: [{format: corim, file: %s, keys: [vendor.pem], profile: %q}]
    rules: [{name: one image, cel: %q}]
`, server.SoftwareName, file, profile, cel))
	}
	write("good.corim", release(t, key, server.HardwareModel, server.Measurements))
	write("model.corim", release(t, key, "another", server.Measurements))
	tampered := release(t, key, server.HardwareModel, server.Measurements)
	tampered[len(tampered)-1] ^= 1
	write("tampered.corim", tampered)
	policy("good.yaml", "good.corim", `software.all(s, s.name == "server-image")`)
	policy("model.yaml", "model.corim", "true")
	policy("cel.yaml", "good.corim", `software.exists(s, s.name == "other")`)
	policy("typo.yaml", "good.corim", "sofware.size() > 0")
	policy("tampered.yaml", "tampered.corim", "true")

	require.Contains(t, command(t, dir, 0, "expat-full", "policy", "check", "good.yaml"), "reference values: 4, rules: 2")
	text := command(t, dir, 0, "expat-full", "policy", "explain", "good.yaml", "server.cmw", "--binding", "server.cmw.binding")
	require.Contains(t, text, "ACCEPTABLE for the connection of the binding")
	require.Regexp(t, `holds +rule "one image"`, text)
	require.Regexp(t, `holds +rule "CoRIM \\?"release-1\\?": hardware model"`, text)
	command(t, dir, 0, "expat-full", "demo", "--state", "s", "--policy", "good.yaml")

	for name, want := range map[string]string{
		"model.yaml": `fails +rule "CoRIM \\?"release-1\\?": hardware model"`,
		"cel.yaml":   `fails +rule "one image"`,
	} {
		require.Regexp(t, want, command(t, dir, 1, "expat-full", "policy", "explain", name, "server.cmw"))
	}
	for name, want := range map[string]string{
		"typo.yaml":     `typo.yaml:9:\d+: .*undeclared reference to 'sofware'`,
		"tampered.yaml": `tampered.yaml:8:\d+: .*signature`,
	} {
		require.Regexp(t, want, command(t, dir, 2, "expat-full", "policy", "check", name))
	}
	plain := command(t, dir, 2, "expat", "policy", "check", "good.yaml")
	require.Contains(t, plain, "expat-full does")
	require.Contains(t, plain, "use the program github.com/expat-go/expat/cmd/expat/expat-full")
}

// The verifier service judges by such a file too.
func TestVerifierServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	command(t, dir, 0, "expat-full", "verifier", "serve", "--state", "s", "--for", "1s")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(`version: 1
name: rules
environments:
  - platform: simulated
    roots: [{file: s/simulated-root.pem}]
    any_instance: true
    min_versions: {x: "1"}
    rules: [{name: any, cel: "true"}]
`), 0o600))
	args := []string{"verifier", "serve", "--policy", "p.yaml", "--key", "s/verifier-test-key.pem", "--for", "1s"}
	command(t, dir, 0, "expat-full", args...)
	require.Contains(t, command(t, dir, 2, "expat", args...), "expat-full")
}
