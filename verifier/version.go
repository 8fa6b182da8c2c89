package verifier

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// maxParts is the number of parts of a version.
const maxParts = 8

var errVersion = errors.New("version is not 1 to 8 numbers of at most 9 digits, separated by dots")

// CompareVersions compares two versions that are 1 to 8 decimal numbers separated
// by dots, part by part as numbers; parts that are missing count as zero, so that
// 1.2 is 1.2.0 and 1.10 is later than 1.9. It returns -1, 0 or 1. Anything else,
// such as a suffix, is an error: it has no order that all would agree on.
func CompareVersions(a, b string) (int, error) {
	x, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	y, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	return slices.Compare(x[:], y[:]), nil
}

func parseVersion(s string) (v [maxParts]uint32, err error) {
	parts := strings.SplitN(s, ".", maxParts+1)
	if len(parts) > maxParts {
		return v, errVersion
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || len(part) > 9 {
			return v, errVersion
		}
		v[i] = uint32(n)
	}
	return v, nil
}

// minVersion is the lowest good version of a software.
type minVersion struct {
	text    string
	version [maxParts]uint32
}

// reached tells whether a version is that one or a later one. A version that has no
// order is not.
func (v minVersion) reached(version string) (bool, error) {
	got, err := parseVersion(version)
	return err == nil && slices.Compare(got[:], v.version[:]) >= 0, err
}
