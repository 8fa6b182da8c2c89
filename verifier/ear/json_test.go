package ear

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodeObject(t *testing.T) {
	t.Parallel()
	nine := `{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1`
	for name, c := range map[string]struct{ data, want string }{
		"empty":                       {`{}`, ""},
		"space around":                {" \t\r\n{} \t\r\n", ""},
		"quote and slash in a string": {`{"a":"\"{\\"}`, ""},
		"same name on other levels":   {`{"a":{"a":[{"a":1},{"a":2}]}}`, ""},
		"name as a value":             {`{"a":"a","b":["a","a"]}`, ""},
		"ten names":                   {nine + `,"10":1}`, ""},
		"twice":                       {`{"a":1,"a":1}`, "a member name occurs twice"},
		"twice, one escaped":          {`{"a":1,"\u0061":1}`, "a member name occurs twice"},
		"twice within":                {`{"b":[{"c":1,"a":1,"c":2}]}`, "a member name occurs twice"},
		"twice after an object":       {`{"a":{},"a":1}`, "a member name occurs twice"},
		"eighth again":                {nine + `,"8":1}`, "a member name occurs twice"},
		"ninth again":                 {nine + `,"9":1}`, "a member name occurs twice"},
		"lone surrogates are one":     {`{"\ud800":1,"\ud801":1}`, "a member name occurs twice"},
		"bad escape in a name":        {`{"\x":1}`, "a member name is not a JSON string"},
		"open string":                 {`{"a`, "a string does not end"},
		"ends in a backslash":         {`{"a\`, "a string does not end"},
		"closes too often":            {`{}}`, "not a JSON object"},
		"two objects":                 {`{}{}`, "more than one JSON object"},
		"garbage after":               {`{},`, "more than one JSON object"},
		"null":                        {`null`, "not a JSON object, but null"},
		"a string":                    {`"a"`, "not a JSON object"},
		"nothing":                     {``, "not a JSON object"},
		"comma at the end":            {`{"a":1,}`, "not a JSON object"},
		"not UTF-8":                   {"{\"\xff\":1}", "not UTF-8"},
		"at the depth":                {`{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "}", ""},
		"too deep":                    {`{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}", "nested deeper than 16 levels"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := decodeObject([]byte(c.data))
			if c.want == "" {
				require.NoError(t, err)
				require.NotNil(t, m)
				return
			}
			require.Nil(t, m)
			require.EqualError(t, err, c.want)
		})
	}
}
