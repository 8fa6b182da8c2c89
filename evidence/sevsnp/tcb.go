package sevsnp

import "fmt"

// TCB is a TCB_VERSION: the security patch levels of a processor's firmware, one
// byte each, as the report holds them read as a little-endian number. Which byte
// is which depends on the product line.
type TCB uint64

// NewTCB is the TCB of the product lines Milan and Genoa.
func NewTCB(bootloader, tee, snp, microcode uint8) TCB {
	return TCB(bootloader) | TCB(tee)<<8 | TCB(snp)<<48 | TCB(microcode)<<56
}

// AtLeast tells whether every component of t is that of floor or later.
func (t TCB) AtLeast(floor TCB) bool {
	for shift := 0; shift < 64; shift += 8 {
		if uint8(t>>shift) < uint8(floor>>shift) {
			return false
		}
	}
	return true
}

func (t TCB) String() string {
	return fmt.Sprintf("bootloader %d, tee %d, snp %d, microcode %d", uint8(t), uint8(t>>8), uint8(t>>48), uint8(t>>56))
}

// Describe names the components as a product line has them; those of "" are Milan's.
func (t TCB) Describe(line string) string {
	if line == "Turin" {
		return fmt.Sprintf("fmc %d, bootloader %d, tee %d, snp %d, microcode %d", uint8(t), uint8(t>>8), uint8(t>>16), uint8(t>>24), uint8(t>>56))
	}
	return t.String()
}
