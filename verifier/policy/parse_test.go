package policy_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/verifier/policy"
)

// Each case is the good policy with one change. What it is refused with, word for
// word, and whether the schema refuses its form, is in testdata/refused.txt.
func TestRefused(t *testing.T) {
	t.Parallel()
	dir, schema := newLab(t).dir(t), compileSchema(t)
	var got strings.Builder
	for _, c := range refusals() {
		p, err := parse(dir, c.text(), options())
		require.Nil(t, p, c.name)
		require.ErrorIs(t, err, policy.ErrFile, c.name)
		seen := "the schema refuses it too"
		if validate(t, schema, c.text()) == nil {
			seen = "its form is good"
		}
		fmt.Fprintf(&got, "== %s: %s\n%s\n", c.name, seen, strings.Join(errorLines(dir, err), "\n"))
	}
	want, err := os.ReadFile("testdata/refused.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

// refusal is the good policy with one change.
type refusal struct {
	name     string
	old, new string // what is replaced in the good policy; the whole where old is ""
}

func (r refusal) text() string {
	if r.old == "" {
		return r.new
	}
	if !strings.Contains(good(), r.old) {
		panic(r.name)
	}
	return strings.Replace(good(), r.old, r.new, 1)
}

func refusals() []refusal {
	add := func(name, field string) refusal {
		return refusal{name: name, old: "    hardware_models", new: field + "    hardware_models"}
	}
	inst := fmt.Sprintf("    instances: [%q]\n", instance)
	return []refusal{
		{name: "empty", new: "\n# only a comment\n"},
		{name: "really empty", new: ""},
		{name: "not a mapping", new: "- version: 1\n"},
		{name: "text", new: "version\n"},
		{name: "bad yaml", new: "version: 1\nname: [\n"},
		{name: "bad indentation", new: "version: 1\n  name: x\n"},
		{name: "tab", new: "version: 1\n\tname: x\n"},
		{name: "two documents", old: "version: 1\n", new: "version: 1\n---\nversion: 1\n"},
		{name: "control", new: "version: 1\x01\n"},
		{name: "not UTF-8", new: "version: \xff\n"},
		{name: "deep", new: strings.Repeat("[", 13) + strings.Repeat("]", 13)},
		{name: "alias", new: "a: &x [1]\nb: *x\n"},
		{name: "tag", old: "name: test", new: "name: !!str test"},
		{name: "merge", old: "name: test", new: "name: test\n<<: {draft: false}"},
		{name: "key is a list", old: "name: test", new: "name: test\n? [a]\n: b"},
		{name: "twice", old: "name: test", new: "name: test\nname: other"},
		{name: "version missing", old: "version: 1\n", new: ""},
		{name: "version other", old: "version: 1\n", new: "version: 2\n"},
		{name: "name missing", old: "name: test\n", new: ""},
		{name: "name empty", old: "name: test\n", new: "name: \"\"\n"},
		{name: "name null", old: "name: test\n", new: "name:\n"},
		{name: "name number", old: "name: test\n", new: "name: 12\n"},
		{name: "name bad", old: "name: test\n", new: "name: \"a@b\"\n"},
		{name: "draft", old: "name: test\n", new: "name: test\ndraft: true\n"},
		{name: "draft text", old: "name: test\n", new: "name: test\ndraft: yes\n"},
		{name: "unknown top", old: "environments", new: "enviroments"},
		{name: "unknown far", old: "name: test\n", new: "name: test\nzebra: 1\n"},
		{name: "no environments", new: "version: 1\nname: x\nenvironments: []\n"},
		{name: "environment null", new: "version: 1\nname: x\nenvironments: [null]\n"},
		{name: "both", old: "environments:", new: "composite: {}\nenvironments:"},
		{name: "platform missing", old: "  - platform: simulated\n    roots", new: "  - roots"},
		{name: "platform unknown", old: "simulated", new: "simulatd"},
		{name: "platform section", old: "    hardware_models", new: "    tpm: {from_log: [4]}\n    hardware_models"},
		{name: "own section empty", old: "    hardware_models", new: "    simulated: {}\n    hardware_models"},
		{name: "media type", old: "    hardware_models", new: "    media_types: [a/b]\n    hardware_models"},
		{name: "media type list", old: "    hardware_models", new: "    media_types: a/b\n    hardware_models"},
		{name: "roots missing", old: "    roots: [{file: root.pem}]\n", new: ""},
		{name: "roots absent", old: "file: root.pem", new: "file: rot.pem"},
		{name: "roots not pem", old: "file: root.pem", new: "pem: hello"},
		{name: "roots two", old: "file: root.pem", new: "file: root.pem, vendor: amd"},
		{name: "roots vendor", old: "file: root.pem", new: "vendor: amd"},
		{name: "roots text", old: "{file: root.pem}", new: "root.pem"},
		{name: "roots unknown", old: "file: root.pem", new: "fil: root.pem"},
		{name: "digest short", old: digest, new: digest[:62]},
		{name: "digest odd", old: digest, new: digest[1:]},
		{name: "digest digits", old: "[" + digest, new: "[" + strings.Repeat("12", 32)},
		{name: "digest twice", old: digest, new: digest + ", " + digest},
		{name: "digest list empty", old: "[" + digest + "]", new: "[]"},
		{name: "version number", old: `"1.9"`, new: "1.10"},
		{name: "version bad", old: `"1.9"`, new: `"1.x"`},
		{name: "instance text", old: "\"" + instance, new: "\"device 1"},
		{name: "instances gone", old: inst, new: ""},
		{name: "instances both", old: inst, new: inst + "    any_instance: true\n"},
		{name: "revoked", old: inst, new: inst + fmt.Sprintf("    revoked_instances: [\"ff\", %q]\n", instance)},
		add("debug", "    allow_debug_exposing_memory: true\n"),
		add("external", "    allow_external_key: true\n"),
		add("unlisted named", "    allow_key_named_by_software: true\n    allow_unlisted_measurements: true\n"),
		add("flag", "    accept_warning: yes\n"),
		add("lifetime", "    lifetime: 10ms\n"),
		add("lifetime number", "    lifetime: 10\n"),
		add("lifetime bad", "    lifetime: soon\n"),
		add("rule", "    rules: [{name: r, cel: \"true\"}]\n"),
		add("rule without", "    rules: [{name: r}]\n"),
		add("reference", "    reference_values: [{format: corim, file: root.pem}]\n"),
		add("reference no file", "    reference_values: [{format: corim}]\n"),
		{name: "composite without environments", old: "environments:", new: "composite:\n  x: 1\nx:"},
		{name: "another platform", old: "platform: simulated", new: "platform: tpm\n    tpm: {from_log: [4, 16, 4, x]}"},
		{name: "media type twice", old: "  - platform", new: "  - {platform: simulated}\n  - platform"},
		{name: "one name twice", old: "  - platform: simulated", new: "  - {name: a, platform: tpm}\n  - name: a\n    platform: simulated"},
		{name: "no reference values", old: "    measurements:\n      kernel: [" + digest + "]\n    min_versions: {firmware: \"1.9\"}\n", new: ""},
		{name: "measurement without name", old: "kernel:", new: "\"\":"},
		{name: "software without name", old: "{firmware:", new: "{\"\":"},
		{name: "unlisted of none", old: "measurements:\n      kernel: [" + digest + "]", new: "allow_unlisted_measurements: true"},
		{name: "root of a leaf", old: "file: root.pem", new: "pem: \"-----BEGIN PRIVATE KEY-----\\nAAAA\\n-----END PRIVATE KEY-----\""},
		{name: "root broken", old: "file: root.pem", new: "pem: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\""},
		{name: "control character", old: "name: test", new: "name: \"a\\x01\""},
		add("rules of one name", "    rules: [{name: r, cel: a}, {name: r, cel: b}]\n"),
		add("key file absent", "    reference_values: [{format: corim, file: root.pem, keys: [k.pem]}]\n"),
		{name: "version text", old: "version: 1\n", new: "version: \"1\"\n"},
		{name: "version octal", old: "version: 1\n", new: "version: 0o1\n"},
		{name: "version float", old: "version: 1\n", new: "version: 1.0\n"},
		{name: "version NaN", old: "version: 1\n", new: "version: .nan\n"},
		add("flag large", "    accept_warning: True\n"),
		add("flag text", "    accept_warning: \"true\"\n"),
		add("flag number", "    accept_warning: 1\n"),
		add("flag null", "    accept_warning: ~\n"),
		add("flag other case", "    Accept_warning: true\n"),
		add("flag in quotes twice", "    accept_warning: false\n    \"accept_warning\": true\n"),
		add("lifetime in base 60", "    lifetime: 1:30\n"),
		add("lifetime too long", "    lifetime: 2562048h\n"),
		add("lifetime below", "    lifetime: -1h\n"),
		{name: "instance null", old: inst, new: "    instances: [~]\n"},
		{name: "instance date", old: inst, new: "    instances: [2026-11-22]\n"},
		{name: "instance octal", old: inst, new: "    instances: [0o17]\n"},
		{name: "instance exponent", old: inst, new: "    instances: [1e9]\n"},
		{name: "instance binary", old: inst, new: "    instances: [!!binary AQ==]\n"},
		{name: "instance empty", old: inst, new: "    instances: [\"\"]\n"},
		{name: "instances set", old: inst, new: "    instances: {\"01\": ~}\n"},
		{name: "measurement number", old: "kernel:", new: "1:"},
		{name: "measurement date", old: "kernel:", new: "2026-11-22:"},
		{name: "measurement bool", old: "kernel:", new: "true:"},
		{name: "measurement null", old: "kernel:", new: "~:"},
		{name: "measurement twice by type", old: "kernel: [" + digest + "]", new: "1: [" + digest + "]\n      \"1\": [" + digest2 + "]"},
		{name: "measurement twice by base", old: "kernel: [" + digest + "]", new: "1: [" + digest + "]\n      0x1: [" + digest2 + "]"},
		{name: "measurement merged", old: "kernel: [" + digest + "]", new: "<<: {kernel: [" + digest + "]}"},
		{name: "digest twice by case", old: digest, new: digest + ", " + strings.ToUpper(digest)},
		{name: "version other digits", old: `"1.9"`, new: `"١.9"`},
		{name: "version hex", old: `"1.9"`, new: `"0x9"`},
		{name: "several", old: "name: test\n", new: "name: 1\nzebra: 2\n"},
	}
}
