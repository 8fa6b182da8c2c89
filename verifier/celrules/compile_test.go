package celrules_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier/celrules"
)

// TestHolds: every variable has the value that the claims have.
func TestHolds(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`true`,
		`platform == "simulated"`,
		`instance == "01ab" && vendor == "02" && hardware_model == "6d6f64656c2d31"`,
		`debug == "disabled-since-boot" && key == "born-inside"`,
		`debug.startsWith("disabled")`,
		`signer_serial == "05" && signer_key_id == "0607"`,
		`signer_not_after == timestamp("2030-01-02T03:04:05Z")`,
		`signer_not_after.getFullYear() == 2030`,
		`size(software) == 3 && software[0].name == "firmware" && software[0].version == "1.10.2"`,
		`software.exists_one(s, s.name == "firmware" && at_least(s.version, "1.9"))`,
		`versions["firmware"].all(v, at_least(v, "1.10.2"))`,
		`versions["loader"] == ["2-rc1", "3"]`,
		`size(measurements) == 3`,
		`measurements.exists(m, m.name == "kernel" && m.version == "6.1" && m.algorithm == "sha-256" && m.digest == "` + kernelHex + `")`,
		`digests["kernel"] == ["` + kernelHex + `"]`,
		`size(digests["app"]) == 2`,
		`digests["app"].all(d, d in ["` + strings.Repeat("a0", 48) + `", "` + strings.Repeat("a1", 48) + `"])`,
		`!("initrd" in digests) && !("initrd" in versions)`,
		`digests.all(name, name in ["kernel", "app"])`,
		`measurements.filter(m, m.name == "app").map(m, m.digest) == digests["app"]`,
		`measurements.all(m, measurements.exists(n, n.name == m.name))`,
		`hardware_model.matches("^[0-9a-f]+$")`,
		`has(measurements[0].version) ? measurements[0].version == "6.1" : false`,
	} {
		require.NoError(t, one(t, text).Check(context.Background(), sample()), text)
	}
}

// TestNotStated: what is not stated is empty, and what there is none of has no
// entry.
func TestNotStated(t *testing.T) {
	t.Parallel()
	bare := &evidence.Claims{Platform: "p"}
	for text, want := range map[string]error{
		`instance == "" && vendor == "" && hardware_model == "" && signer_serial == "" && signer_key_id == ""`: nil,
		`debug == "not-stated" && key == "not-stated"`:                                                         nil,
		`software == [] && measurements == [] && versions == {} && digests == {}`:                              nil,
		`signer_not_after < timestamp("1970-01-01T00:00:00Z")`:                                                 nil,
		`vendor == "02"`:                                             celrules.ErrFalse,
		`digests["kernel"].all(d, d == "00")`:                        celrules.ErrEvaluation,
		`versions["firmware"].all(v, at_least(v, "1"))`:              celrules.ErrEvaluation,
		`measurements[0].name == ""`:                                 celrules.ErrEvaluation,
		`measurements.exists(m, m.name == "kernel")`:                 celrules.ErrFalse,
		`"kernel" in digests && digests["kernel"].all(d, d == "00")`: celrules.ErrFalse,
		`digests["kernel"].all(d, d == "00") || platform == "other"`: celrules.ErrEvaluation,
		`signer_not_after > timestamp("2026-01-01T00:00:00Z")`:       celrules.ErrFalse,
		`at_least(platform, "1")`:                                    celrules.ErrEvaluation,
		`int(platform) == 1`:                                         celrules.ErrEvaluation,
		`1 / size(measurements) == 0`:                                celrules.ErrEvaluation,
		`dyn(platform) == 1`:                                         celrules.ErrFalse,
		`platform.matches(vendor + "(")`:                             celrules.ErrEvaluation,
		`[dyn(platform)].all(p, at_least(p, "1"))`:                   celrules.ErrEvaluation,
		`[dyn(1)].all(p, at_least(p, "1"))`:                          celrules.ErrEvaluation,
		`true ? measurements[0].name == "" : true`:                   celrules.ErrEvaluation,
		`platform == "p" ? false : true`:                             celrules.ErrFalse,
		`"P" == platform`:                                            celrules.ErrFalse,
	} {
		require.ErrorIs(t, one(t, text).Check(context.Background(), bare), want, text)
	}
}

// TestAbsorbed: what has no value does not count where the rest decides, and is never
// true by itself.
func TestAbsorbed(t *testing.T) {
	t.Parallel()
	const none = `digests["none"][0] == "00"`
	for text, want := range map[string]error{
		none: celrules.ErrEvaluation, `!(` + none + `)`: celrules.ErrEvaluation,
		none + ` || platform == "simulated"`:                                                     nil,
		`platform == "simulated" || ` + none:                                                     nil,
		none + ` || platform == "other"`:                                                         celrules.ErrEvaluation,
		none + ` && platform == "simulated"`:                                                     celrules.ErrEvaluation,
		none + ` && platform == "other"`:                                                         celrules.ErrFalse,
		`!(` + none + ` && debug == "enabled")`:                                                  nil,
		`!(` + none + ` || platform == "other")`:                                                 celrules.ErrEvaluation,
		`versions["loader"].exists(v, at_least(v, "1"))`:                                         nil, // 2-rc1 has no order, 3 has
		`versions["loader"].all(v, at_least(v, "1"))`:                                            celrules.ErrEvaluation,
		`versions["loader"].all(v, at_least(v, "4"))`:                                            celrules.ErrFalse,
		`!versions["loader"].exists(v, at_least(v, "4"))`:                                        celrules.ErrEvaluation,
		`"none" in digests && ` + none:                                                           celrules.ErrFalse,
		`[1,2,3,4,5,6,7,8,9].all(i, !"` + strings.Repeat("a", 3000) + `".contains("b")) || true`: nil,
	} {
		require.ErrorIs(t, one(t, text).Check(context.Background(), sample()), want, text)
	}
}

// TestCostIsNotAbsorbed: what is stopped has no value, whatever the rest says.
func TestCostIsNotAbsorbed(t *testing.T) {
	t.Parallel()
	r := one(t, `measurements.all(a, measurements.exists(b, a.name == b.name)) || platform == "simulated"`)
	require.NoError(t, r.Check(context.Background(), crowd(64)))
	require.ErrorIs(t, r.Check(context.Background(), crowd(2000)), celrules.ErrEvaluation)
}

// TestDocumented: the rules of the documentation are rules.
func TestDocumented(t *testing.T) {
	t.Parallel()
	n := 0
	for _, name := range []string{"policy.md", "verifiers.md"} {
		doc, err := os.ReadFile(filepath.Join("../../docs", name))
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("(?:cel: \"([^\"]+)\"|CEL: `([^`]+)`)").FindAllStringSubmatch(string(doc), -1) {
			one(t, m[1]+m[2])
			n++
		}
	}
	require.Equal(t, 3, n)
}

// TestCompileErrors: what is wrong is found when the policy is made, with its place.
func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for text, c := range map[string]struct {
		want         error
		line, column int
	}{
		``:                                    {celrules.ErrExpression, 1, 1},
		`platform`:                            {celrules.ErrType, 1, 1},
		`1 + 1`:                               {celrules.ErrType, 1, 1},
		`dyn(true)`:                           {celrules.ErrType, 1, 1},
		`null`:                                {celrules.ErrType, 1, 1},
		`platfrom == "x"`:                     {celrules.ErrExpression, 1, 1},
		"platform == \"x\" &&\n  binder == 1": {celrules.ErrExpression, 2, 3},
		`measurements.all(m, m.digst == "")`:  {celrules.ErrExpression, 1, 22},
		`vendor == 2`:                         {celrules.ErrExpression, 1, 8},
		`platform == "x`:                      {celrules.ErrExpression, 1, 13},
		`platform == `:                        {celrules.ErrExpression, 1, 13},
		`open("/etc/passwd")`:                 {celrules.ErrExpression, 1, 5},
		`platform.matches("(")`:               {celrules.ErrExpression, 1, 18},
		`signer_not_after > timestamp("x")`:   {celrules.ErrExpression, 1, 30},
		`at_least("1", 2)`:                    {celrules.ErrExpression, 1, 9},
		`platform in ["a", 1]`:                {celrules.ErrExpression, 1, 0},
		"true\xff":                            {celrules.ErrExpression, 0, 0},
		strings.Repeat(" ", celrules.MaxText-3) + `true`:             {celrules.ErrSize, 0, 0},
		strings.Repeat("é", celrules.MaxText+1):                      {celrules.ErrSize, 0, 0},
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100): {celrules.ErrExpression, 0, 0},
	} {
		rules, err := celrules.Compile(celrules.Expression{Name: "r", CEL: text})
		require.Nil(t, rules, text)
		require.ErrorIs(t, err, c.want, text)
		var e *celrules.Error
		require.ErrorAs(t, err, &e, text)
		require.Equal(t, "r", e.Name)
		if c.line > 0 {
			require.Equal(t, c.line, e.Line, "%s: %v", text, err)
		}
		if c.column > 0 {
			require.Equal(t, c.column, e.Column, "%s: %v", text, err)
		}
	}
	one(t, strings.Repeat(" ", celrules.MaxText-4)+`true`)
	_, err := celrules.Compile(celrules.Expression{CEL: "true"})
	require.ErrorIs(t, err, celrules.ErrName)
	require.EqualError(t, err, `rule "": the expression has no name`)
}

// TestCompileReportsAll: everything that is wrong is told at once.
func TestCompileReportsAll(t *testing.T) {
	t.Parallel()
	_, err := celrules.Compile(
		celrules.Expression{Name: "a", CEL: "one && two"},
		celrules.Expression{Name: "b", CEL: "true"},
		celrules.Expression{Name: "c", CEL: "1"})
	for _, want := range []string{
		`rule "a", line 1, column 1: the expression is not valid: undeclared reference to 'one'`,
		`rule "a", line 1, column 8: the expression is not valid: undeclared reference to 'two'`,
		`rule "c", line 1, column 1: the expression is not of type bool: it is of type int`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), `rule "b"`)
	rules, err := celrules.Compile()
	require.NoError(t, err)
	require.Empty(t, rules)
}

// TestExpensive: what could run for long is refused before it runs.
func TestExpensive(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"three loops":                 `measurements.all(a, measurements.all(b, measurements.all(c, a.name + b.name == c.name)))`,
		"two loops over long strings": `measurements.all(a, measurements.all(b, (a.digest + b.digest + a.digest).contains(b.digest + a.name)))`,
		"literal loops":               `[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, a + b == c)))`,
		"long regexp":                 `platform.matches("(a{1000}){1000}")`,
	} {
		_, err := celrules.Compile(celrules.Expression{Name: "r", CEL: text})
		require.Error(t, err, name)
		require.True(t, errors.Is(err, celrules.ErrCost) || errors.Is(err, celrules.ErrExpression), "%s: %v", name, err)
	}
	_, err := celrules.Compile(celrules.Expression{Name: "r", CEL: `measurements.all(a, measurements.all(b, (a.digest + b.digest + a.digest).contains(b.digest + a.name)))`})
	require.ErrorIs(t, err, celrules.ErrCost)
}
