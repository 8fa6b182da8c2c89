package attestation

// Profile fixes the choices that are visible on the wire and differ between
// revisions of the draft. A peer sets none of them. The zero Profile is invalid.
type Profile struct {
	name      string
	extension uint16 // code point of cmw_attestation
	label     string // exporter label of the binder
}

// extensionCMW is in the private-use range until IANA assigns a code point to
// cmw_attestation (Section 9.1 of the draft).
const extensionCMW uint16 = 0xff00

// Expat04 is draft-fossati-seat-expat-04, the default.
func Expat04() Profile {
	return Profile{name: "expat-04", extension: extensionCMW, label: "EXPORTER-cmw-attestation"}
}

// Expat03 is revision 03, which has another exporter label; for interop only.
func Expat03() Profile {
	return Profile{name: "expat-03", extension: extensionCMW, label: "Attestation"}
}

// String is the profile's name.
func (p Profile) String() string { return p.name }

// valid tells a profile of this package from the zero one.
func (p Profile) valid() bool { return p.name != "" }
