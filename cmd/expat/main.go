// Command expat shows and serves attested TLS: see expat help.
package main

import (
	"os"

	"github.com/expat-go/expat/cmd/expat/internal/cli"
)

func main() { os.Exit(cli.Main()) }
