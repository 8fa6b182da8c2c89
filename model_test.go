package expat

import (
	"context"
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/wire"
)

const modelFile = "docs/model/exchange.pml"

// modelConstants are the states of the model; TestModelIsTheCode checks that the
// model gives them the same numbers.
var modelConstants = map[string]uint8{
	"askNone": uint8(askNone), "askPending": uint8(askPending), "askJudging": uint8(askJudging), "askDone": uint8(askDone),
	"answerUnknown": uint8(answerUnknown), "answerNone": uint8(answerNone), "answerPending": uint8(answerPending),
	"answerOwed": uint8(answerOwed), "answerSent": uint8(answerSent), "answerDone": uint8(answerDone),
}

// TestModelIsTheCode evaluates the state table of the model for every state and
// compares it with the code's.
func TestModelIsTheCode(t *testing.T) {
	text, err := os.ReadFile(modelFile)
	require.NoError(t, err)
	defines := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#define +(\w+) +(\S.*)$`).FindAllStringSubmatch(string(text), -1) {
		if _, again := defines[m[1]]; !again { // the variants come after
			defines[m[1]] = m[2]
		}
	}
	for name, n := range modelConstants {
		require.Equal(t, fmt.Sprint(n), defines[name], name)
	}
	rules := map[wire.Type]string{
		wire.Hello: "ADMIT_HELLO", wire.Request: "ADMIT_REQUEST",
		wire.Authenticator: "ADMIT_AUTHENTICATOR", wire.Result: "ADMIT_RESULT",
		wire.Data: "ADMIT_DATA",
	}
	for _, r := range rows {
		s := state{ask: r.ask, answer: r.answer, live: r.live}
		for frame, rule := range rules {
			require.Equal(t, evaluate(t, defines[rule], s), s.admit(frame) == nil, "%v in %+v", frame, s)
		}
		require.Equal(t, evaluate(t, defines["OPEN"], s), s.open(), "open in %+v", s)
		require.NoError(t, s.admit(wire.Alert))
	}
}

// evaluate evaluates a line of the model, which is also an expression of Go.
func evaluate(t *testing.T, expr string, s state) bool {
	t.Helper()
	require.NotEmpty(t, expr)
	pkg := types.NewPackage("model", "model")
	define := func(name string, n uint8) {
		pkg.Scope().Insert(types.NewConst(token.NoPos, pkg, name, types.Typ[types.Uint8], constant.MakeInt64(int64(n))))
	}
	for name, n := range modelConstants {
		define(name, n)
	}
	pkg.Scope().Insert(types.NewConst(token.NoPos, pkg, "live", types.Typ[types.Bool], constant.MakeBool(s.live)))
	define("ask", uint8(s.ask))
	define("answer", uint8(s.answer))
	v, err := types.Eval(token.NewFileSet(), pkg, token.NoPos, expr)
	require.NoError(t, err, expr)
	return constant.BoolVal(v.Value)
}

// TestModel has spin search every state of the model. The variants named BROKEN
// hold a mistake, and the search must find it.
func TestModel(t *testing.T) {
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install spin gcc libc6-dev", tool)
		}
	}
	for _, c := range []struct {
		flags string
		found string // what the search must report; empty: nothing
	}{
		{"-DHONEST -DASKS=1 -DPEER_ASKS=0", ""},
		{"-DHONEST -DASKS=0 -DPEER_ASKS=1", ""},
		{"-DHONEST", ""},
		{"-DHONEST -DCLIENT_FIRST", ""},
		{"-DHONEST -DDEADLINE", ""},
		{"-DHONEST -DMUX", ""},
		{"-DHONEST -DMUX -DDEADLINE", ""},
		{"-DROGUE -DDEADLINE -DASKS=1", ""},
		{"-DROGUE -DDEADLINE -DASKS=0", ""},
		{"-DROGUE -DDEADLINE -DMUX", ""},
		{"-DROGUE -DDEADLINE -DBROKEN_OPEN", "pan:1: assertion violated"},
		{"-DROGUE -DDEADLINE -DBROKEN_LEASE", "pan:1: assertion violated"},
		{"-DHONEST -DMUX -DBROKEN_LEASE", "pan:1: assertion violated"},
		{"-DROGUE", "pan:1: invalid end state"}, // without a deadline a silent peer holds us for ever
		{"-DHONEST -DASKS=0 -DPEER_ASKS=0", "pan:1: assertion violated"},
	} {
		t.Run(c.flags, func(t *testing.T) {
			t.Parallel()
			report := search(t, strings.Fields(c.flags))
			require.NotContains(t, report, "max search depth too small")
			if c.found == "" {
				require.Contains(t, report, "errors: 0\n")
				return
			}
			require.Contains(t, report, c.found)
		})
	}
}

// search compiles the model with spin and gcc, and runs the search.
func search(t *testing.T, flags []string) string {
	t.Helper()
	model, err := filepath.Abs(modelFile)
	require.NoError(t, err)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		return string(out)
	}
	run("spin", append(flags, "-a", model)...)
	run("gcc", "-O1", "-DSAFETY", "-DMEMLIM=2000", "-o", "pan", "pan.c")
	return run("./pan", "-m2000000")
}
