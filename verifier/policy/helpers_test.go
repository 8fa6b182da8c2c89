package policy_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/policy/platforms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Values that the cases use.
var (
	digest   = strings.Repeat("4b", 32)
	digest2  = strings.Repeat("5c", 48)
	instance = "01" + strings.Repeat("11", 16)
)

// lab is a device that its policy accepts.
type lab struct {
	vendor *simulated.Vendor
	device *simulated.Device
	id     *authenticator.Identity
}

func newLab(t testing.TB) *lab {
	t.Helper()
	vendor, err := simulated.NewVendor("test", time.Now())
	require.NoError(t, err)
	device, err := vendor.NewDevice(simulated.DeviceOptions{
		Instance: unhex(instance), HardwareModel: []byte("model-1"),
		SoftwareName: "firmware", SoftwareVersion: "1.10.2", Debug: evidence.DebugDisabledSinceBoot,
		Measurements: []evidence.Measurement{{Name: "kernel", Algorithm: "sha-256", Digest: unhex(digest)}},
	})
	require.NoError(t, err)
	key, err := device.GenerateKey(elliptic.P256())
	require.NoError(t, err)
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	return &lab{vendor, device, id}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// attest makes Evidence of the device for a connection.
func (l *lab) attest(t testing.TB, lies ...simulated.Lie) (attestation.Binding, *cmw.Message) {
	t.Helper()
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device, lies...))
	require.NoError(t, err)
	return b, m
}

func (l *lab) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.vendor.Root().Raw}))
}

// dir is a directory with the vendor's root as root.pem.
func (l *lab) dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "root.pem"), l.pem())
	return dir
}

// write replaces a file at once: who polls it never sees half of it.
func write(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte(content), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// base is the policy of the lab's device. Line numbers of cases count on it.
const base = `version: 1
name: test
environments:
  - platform: simulated
    roots: [{file: root.pem}]
    measurements:
      kernel: [%s]
    min_versions: {firmware: "1.9"}
    instances: [%q]
    hardware_models: ["text:model-1"]
`

func good() string { return fmt.Sprintf(base, digest, instance) }

func options() policy.Options { return policy.Options{Platforms: platforms.All()} }

// parse reads text as DIR/policy.yaml.
func parse(dir, text string, o policy.Options) (*policy.Policy, error) {
	o.Name = filepath.Join(dir, "policy.yaml")
	return policy.Parse(context.Background(), []byte(text), o)
}

// errorLines are the errors without the directory.
func errorLines(dir string, err error) []string {
	var out []string
	for _, e := range policy.Errors(err) {
		out = append(out, strings.ReplaceAll(e.Error(), dir+string(filepath.Separator), ""))
	}
	return out
}

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(policy.Schema())))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(policy.SchemaID, doc))
	s, err := c.Compile(policy.SchemaID)
	require.NoError(t, err)
	return s
}

// validate holds text to the schema, as an editor does.
func validate(t testing.TB, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	return s.Validate(v)
}

// pass is a rule that always holds.
func pass(name string) verifier.Rule {
	return verifier.Rule{Name: name, Check: func(context.Context, *evidence.Claims) error { return nil }}
}
