// Command expat-full is expat with rules in CEL and reference values from CoRIM in
// policy files. The libraries behind them are large, so it is a module of its own.
package main

import (
	"os"

	"github.com/expat-go/expat/cmd/expat/internal/cli"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/celrules"
	"github.com/expat-go/expat/verifier/corim"
	"github.com/expat-go/expat/verifier/policy"
)

func main() {
	platform.Extend(policy.Options{
		Rules: rule,
		References: map[string]func(policy.ReferenceInput) (policy.References, error){
			corim.Format: corim.FromPolicyFile(corim.Options{}),
		},
	})
	os.Exit(cli.Main())
}

// rule compiles one rule of a policy file.
func rule(name, expr string) (verifier.Rule, error) {
	rules, err := celrules.Compile(celrules.Expression{Name: name, CEL: expr})
	if err != nil {
		return verifier.Rule{}, err
	}
	return rules[0], nil
}
