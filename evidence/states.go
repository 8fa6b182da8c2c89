package evidence

// DebugState is what Evidence says about debug facilities, ordered as the
// dbgstat claim of RFC 9711, Section 4.2.9: a greater state rules out more.
type DebugState uint8

// The debug states. The zero state means that the Evidence does not say.
const (
	DebugNotStated DebugState = iota
	DebugEnabled
	DebugDisabled
	DebugDisabledSinceBoot
	DebugDisabledPermanently         // the manufacturer can still enable them
	DebugDisabledFullyAndPermanently // nobody can enable them
	// DebugLeftToSoftware: the platform has no debug mode to report. Whether
	// anyone can look inside follows from what the measured software allows.
	DebugLeftToSoftware
)

func (d DebugState) String() string {
	switch d {
	case DebugEnabled:
		return "enabled"
	case DebugDisabled:
		return "disabled"
	case DebugDisabledSinceBoot:
		return "disabled-since-boot"
	case DebugDisabledPermanently:
		return "disabled-permanently"
	case DebugDisabledFullyAndPermanently:
		return "disabled-fully-and-permanently"
	case DebugLeftToSoftware:
		return "left-to-software"
	}
	return "not-stated"
}

// Off tells that debug facilities are stated to be off.
func (d DebugState) Off() bool {
	return d >= DebugDisabled && d <= DebugDisabledFullyAndPermanently
}

// KeyProvenance is what Evidence says about where the attested key was made and
// is kept. A key hash alone says only that the environment named the key, not
// that it holds it (draft-fossati-seat-expat, Section 7).
type KeyProvenance uint8

const (
	// KeyNotStated: the Evidence does not say.
	KeyNotStated KeyProvenance = iota
	// KeyBornInside: the environment made the key, keeps it, and states so by
	// means that its software cannot influence.
	KeyBornInside
	// KeyNamedBySoftware: software inside the environment named the key. That
	// it was made there follows only from what that software is known to do.
	KeyNamedBySoftware
	// KeyExternal: the key was made outside or can leave.
	KeyExternal
)

func (k KeyProvenance) String() string {
	switch k {
	case KeyBornInside:
		return "born-inside"
	case KeyNamedBySoftware:
		return "named-by-software"
	case KeyExternal:
		return "external"
	}
	return "not-stated"
}
