package celrules

import (
	"reflect"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/expat-go/expat/verifier"
)

// The sizes for which the cost of an expression is estimated: more than platforms
// report. The true cost is limited all the same.
const (
	assumedItems  = 64  // measurements, or pieces of software
	assumedLength = 128 // of a name or version, and of SHA-512 in hex
)

// environment declares what an expression can name. It is immutable.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	strings := cel.ListType(cel.StringType)
	return cel.NewEnv(
		ext.NativeTypes(reflect.TypeFor[software](), reflect.TypeFor[measurement](), ext.ParseStructTags(true)),
		cel.Variable("platform", cel.StringType),
		cel.Variable("instance", cel.StringType),
		cel.Variable("vendor", cel.StringType),
		cel.Variable("hardware_model", cel.StringType),
		cel.Variable("debug", cel.StringType),
		cel.Variable("key", cel.StringType),
		cel.Variable("signer_serial", cel.StringType),
		cel.Variable("signer_key_id", cel.StringType),
		cel.Variable("signer_not_after", cel.TimestampType),
		cel.Variable("software", cel.ListType(cel.ObjectType("celrules.software"))),
		cel.Variable("measurements", cel.ListType(cel.ObjectType("celrules.measurement"))),
		cel.Variable("versions", cel.MapType(cel.StringType, strings)),
		cel.Variable("digests", cel.MapType(cel.StringType, strings)),
		cel.Function("at_least", cel.Overload("at_least_string_string",
			[]*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(atLeast))),
		cel.ParserExpressionSizeLimit(MaxText),
		cel.ParserRecursionLimit(maxDepth),
		cel.RegexProgramSizeLimit(maxRegexp),
		cel.ExtendedValidations(),
		cel.ASTValidators(cel.ValidateComprehensionNestingLimit(maxNesting)),
	)
})

// atLeast is the function at_least. CEL calls it with strings only, as declared.
func atLeast(version, lowest ref.Val) ref.Val {
	order, err := verifier.CompareVersions(string(version.(types.String)), string(lowest.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(order >= 0)
}

// sizes tells the estimate how long the claims are.
type sizes struct{}

// EstimateSize is asked about what is not in the text of the expression.
func (sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	most := uint64(assumedItems)
	switch n.Type().Kind() {
	case types.StringKind, types.BytesKind:
		most = assumedLength
	}
	return &checker.SizeEstimate{Max: most}
}

// EstimateCallCost leaves functions to their usual cost.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
