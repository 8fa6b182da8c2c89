package evidence

// Flag is one bit of a field of Evidence, by its name in the platform's specification.
type Flag struct {
	Name string
	Set  bool
}

// Flags reads the bits of a field of which the names are known: names[0] is that of the
// lowest bit, and "" of those that have none.
func Flags(field uint64, names []string) []Flag {
	var out []Flag
	for at, name := range names {
		if name != "" {
			out = append(out, Flag{name, field>>at&1 == 1})
		}
	}
	return out
}
