package celrules_test

import (
	"context"
	"fmt"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/verifier/celrules"
)

func Example() {
	rules, err := celrules.Compile(
		celrules.Expression{Name: "firmware", CEL: `versions["firmware"].all(v, at_least(v, "1.10"))`},
		celrules.Expression{Name: "no debug tools", CEL: `!software.exists(s, s.name.startsWith("debug-"))`},
		celrules.Expression{Name: "signer", CEL: `signer_not_after > timestamp("2030-01-01T00:00:00Z")`},
	)
	if err != nil {
		panic(err)
	}
	claims := &evidence.Claims{Software: []evidence.Software{{Name: "firmware", Version: "1.9"}}}
	for _, r := range rules { // what an Appraiser does with the Rules of its Policy
		fmt.Println(r.Name, "-", r.Check(context.Background(), claims))
	}

	_, err = celrules.Compile(celrules.Expression{Name: "typo", CEL: `platfrom == "tdx"`})
	fmt.Println(err)
	// Output:
	// firmware - the expression is false
	// no debug tools - <nil>
	// signer - the expression is false
	// rule "typo", line 1, column 1: the expression is not valid: undeclared reference to 'platfrom' (in container '')
}
