package attacktest_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attacktest"
)

const document = "../docs/attacks.md"

var attackTable = regexp.MustCompile(`(?s)(<!-- attacks: [^>]*-->\n).*?(<!-- end -->)`)

// docs/attacks.md has every attack, as the code describes it.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	want := attackTable.ReplaceAllString(string(text), "${1}"+strings.ReplaceAll(table(), "$", "$$")+"${2}")
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(want), 0o644))
	}
	require.True(t, *update || want == string(text) && strings.Contains(want, table()),
		"%s is not as the code says: run go test ./attacktest -run TestDocument -update", document)
}

// table has a row for each attack; one that is made on several victims is one row.
func table() string {
	var b strings.Builder
	b.WriteString("| attack | number | victims | the attacker has | he does | refused by |\n|---|---|---|---|---|---|\n")
	all := attacktest.Attacks()
	for i, a := range all {
		same := func(o attacktest.Attack) bool { return o.Name == a.Name && o.Does == a.Does }
		if slices.IndexFunc(all, same) < i {
			continue
		}
		var victims []string
		for _, o := range all[i:] {
			if same(o) {
				victims = append(victims, string(o.Victim))
			}
		}
		names := strings.Join(victims, ", ")
		if first, part, ok := strings.Cut(victims[0], " as "); ok && len(victims) == 2 {
			names = first + " and client as " + part
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", a.Name, a.Requirement, names, a.Has, a.Does, a.Defence)
	}
	return b.String()
}

// Every number of the threat model is played, or the document says why not.
func TestEveryThreat(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	played := map[string]bool{}
	identity := map[string]bool{}
	for _, a := range attacktest.Attacks() {
		played[a.Requirement] = true
		key := a.Name + " " + string(a.Victim)
		require.False(t, identity[key], "%s occurs twice", key)
		identity[key] = true
		require.NotContains(t, []string{a.Name, a.Requirement, string(a.Victim), a.Has, a.Does, a.Defence}, "")
	}
	_, excuses, found := strings.Cut(string(text), "## What cannot be played")
	require.True(t, found)
	for i := 1; i <= 17; i++ {
		number := fmt.Sprintf("I-%d", i)
		require.True(t, played[number] || strings.Contains(excuses, "| "+number+" |"), "%s", number)
	}
}
