package cli

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// commands lists every command that a user can call, by its path.
func commands(c *cobra.Command) map[string]*cobra.Command {
	out := make(map[string]*cobra.Command)
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		out[sub.CommandPath()] = sub
		for path, below := range commands(sub) {
			out[path] = below
		}
	}
	return out
}

// TestCommandsPage: docs/commands.md has every command, with flags that exist, and
// nothing else.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "commands.md"))
	require.NoError(t, err)
	all := commands(newRoot())
	require.NotEmpty(t, all)
	for path, c := range all {
		if c.HasSubCommands() {
			require.Contains(t, string(page), "`"+path+"`")
		} else {
			require.Contains(t, string(page), "\n### "+path+"\n")
		}
		require.NotEmpty(t, c.Short, path)
	}
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	section := ""
	for s := bufio.NewScanner(bytes.NewReader(page)); s.Scan(); {
		line := s.Text()
		if strings.HasPrefix(line, "#") {
			section = strings.TrimPrefix(line, "### ")
		}
		c := all[section]
		if strings.HasPrefix(line, "### ") {
			require.NotNil(t, c, "no command is called so: %s", line)
		}
		if c == nil {
			continue
		}
		for _, name := range flag.FindAllString(line, -1) {
			require.NotNil(t, c.Flags().Lookup(name[2:]), "%s has no flag %s", section, name)
		}
	}
}
