// Package celrules writes the rules of a policy in the Common Expression Language
// (cel.dev), for conditions that reference values cannot express. It is a Go module
// of its own, so that who does without rules links no CEL.
//
//	rules, err := celrules.Compile(
//		celrules.Expression{Name: "kernel is signed off", CEL: `digests["kernel"].all(d, d in ["4b4b...", "5c5c..."])`},
//		celrules.Expression{Name: "firmware", CEL: `versions["firmware"].all(v, at_least(v, "1.10"))`},
//		celrules.Expression{Name: "no debug names", CEL: `!measurements.exists(m, m.name.startsWith("debug-"))`},
//		celrules.Expression{Name: "recall", CEL: `hardware_model != "" && hardware_model != "6d6f64656c2d31"`},
//	)
//	policy.Rules = append(policy.Rules, rules...)
//
// # Variables
//
// An expression sees the verified claims ([evidence.Claims]) and nothing else: no
// clock, no network, no Evidence, and nothing that the Evidence is bound to.
//
//	platform          string     kind of the attesting environment, such as "simulated"
//	instance          string     identifier of the device
//	vendor            string     identifier of its manufacturer
//	hardware_model    string
//	debug             string     "disabled", "enabled", "not-stated" and others, as Claims.Debug says
//	key               string     "born-inside", "named-by-software", "external" or "not-stated"
//	signer_serial     string     serial number of the signer's certificate
//	signer_key_id     string     SHA-256 of the signer's key
//	signer_not_after  timestamp  when the signer's chain ends; the year 1 if never
//	software          list       of {name, version}
//	measurements      list       of {name, version, algorithm, digest}
//	versions          map        from the name of software to all its versions
//	digests           map        from the name of a measurement to all its digests
//
// Bytes are strings of lower-case hex: compare them with lower-case hex. What is not
// stated is "", so that an inequality such as vendor != "ab" holds of it; versions
// and digests have no entry for a name that is not there, and digests["x"] then has no
// value, which fails the rule unless the other side of a || or && decides without it.
// A name can be measured twice, which is why an entry is a list.
//
// Besides the standard functions of CEL there is
//
//	at_least(version, lowest) bool
//
// which compares versions as [verifier.CompareVersions] does. A version that has no
// order fails the rule.
//
// # Limits
//
// An expression has at most [MaxText] characters, and must be of type bool: anything
// else, an unknown name among it, fails Compile with line and column. Its cost in
// the worst case is estimated for 64 items of 128 characters when it is compiled, its true
// cost is counted when it is evaluated; beyond [MaxCost] it is refused then, or
// fails. Every rule whose evaluation ends with an error fails, whatever the error:
// only true is true. As CEL has it, an error in a part is none of the whole where ||,
// &&, exists or all are decided by the rest. Evaluation ends with the context.
package celrules
