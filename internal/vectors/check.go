package vectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Problem is a case that did not come out as its file says, or a file that
// cannot be used, and then ID is "".
type Problem struct {
	Group string
	ID    string
	Err   error
}

func (p Problem) String() string {
	if p.ID == "" {
		return fmt.Sprintf("%s: %v", p.Group, p.Err)
	}
	return fmt.Sprintf("%s/%s: %v", p.Group, p.ID, p.Err)
}

// Tally counts the cases of a group that were run.
type Tally struct {
	Group          string
	Valid, Invalid int
}

// Report is the outcome of [Check].
type Report struct {
	Tallies  []Tally
	Problems []Problem
}

// Cases is how many cases were run.
func (r *Report) Cases() int {
	n := 0
	for _, t := range r.Tallies {
		n += t.Valid + t.Invalid
	}
	return n
}

// Err is nil if every case came out as its file says.
func (r *Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	errs := make([]error, len(r.Problems))
	for i, p := range r.Problems {
		errs[i] = errors.New(p.String())
	}
	return errors.Join(errs...)
}

// outcome is what the packages of this module make of an input: a value to
// compare with what is expected, or the reason why it is refused.
type outcome struct {
	reason string
	value  any // nil: nothing to compare
}

// group knows how to run the cases of one file.
type group struct {
	name    string
	reasons []string // closed, in the order of the checks
	run     func(k *keyring, input json.RawMessage) (outcome, error)
}

// groups are all groups, in the order in which they build on each other.
var groups = []group{
	{"exporter", nil, runner(runExporter)},
	{"request", requestReasons, runner(runRequest)},
	{"authenticator", authenticatorReasons, runner(runAuthenticator)},
	{"binding", bindingReasons, runner(runBinding)},
	{"cmw_attestation", attestationReasons, runner(runAttestation)},
	{"cmw", cmwReasons, runner(runCMW)},
	{"simulated_evidence", evidenceReasons, runner(runEvidence)},
	{"frames", frameReasons, runner(runFrame)},
	{"transcript", transcriptReasons, runner(runTranscript)},
}

// runner decodes the input of a case for the function that runs it.
func runner[I any](run func(*keyring, *I) (outcome, error)) func(*keyring, json.RawMessage) (outcome, error) {
	return func(k *keyring, input json.RawMessage) (outcome, error) {
		in := new(I)
		if err := decode(input, in); err != nil {
			return outcome{}, fmt.Errorf("input: %w", err)
		}
		return run(k, in)
	}
}

// Check runs every case of the files in fsys. It reports files that are missing,
// unknown or of another form like cases that fail.
func Check(fsys fs.FS) *Report {
	r := new(Report)
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		r.add(".", "", err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".json")
		if name != keysName && !slices.ContainsFunc(groups, func(g group) bool { return g.name == base }) {
			r.add(base, "", errors.New("no such group"))
		}
	}
	k, err := readKeys(fsys)
	if err != nil {
		r.add("keys", "", err)
		return r
	}
	for _, g := range groups {
		r.check(fsys, k, g)
	}
	return r
}

func (r *Report) add(group, id string, err error) {
	r.Problems = append(r.Problems, Problem{group, id, err})
}

func readKeys(fsys fs.FS) (*keyring, error) {
	data, err := fs.ReadFile(fsys, keysName)
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}

func (r *Report) check(fsys fs.FS, k *keyring, g group) {
	data, err := fs.ReadFile(fsys, g.name+".json")
	if err != nil {
		r.add(g.name, "", err)
		return
	}
	f, err := parseFile(data, g.name, g.reasons)
	if err != nil {
		r.add(g.name, "", err)
		return
	}
	tally := Tally{Group: g.name}
	for i := range f.Cases {
		c := &f.Cases[i]
		if c.Result == resultValid {
			tally.Valid++
		} else {
			tally.Invalid++
		}
		if err := g.checkCase(k, c); err != nil {
			r.add(g.name, c.ID, err)
		}
	}
	r.Tallies = append(r.Tallies, tally)
}

// checkCase compares what a case says with what comes of it.
func (g *group) checkCase(k *keyring, c *Case) error {
	got, err := g.run(k, c.Input)
	if err != nil {
		return err
	}
	if got.reason != c.Reason {
		return fmt.Errorf("file has reason %q, computed %q", c.Reason, got.reason)
	}
	if (got.value != nil) != (len(c.Expected) != 0) {
		return errors.New("expected: there must be one exactly where the group defines it")
	}
	if got.value == nil {
		return nil
	}
	value, err := json.Marshal(got.value)
	if err != nil {
		return err
	}
	if err := same(c.Expected, value); err != nil {
		return fmt.Errorf("expected: %w", err)
	}
	return nil
}

// reasonOf finds the reason of an error in a table of sentinels.
func reasonOf(err error, table []sentinel) (outcome, error) {
	for _, s := range table {
		if errors.Is(err, s.err) {
			return outcome{reason: s.reason}, nil
		}
	}
	return outcome{}, fmt.Errorf("refused for no reason of the group: %w", err)
}

type sentinel struct {
	err    error
	reason string
}
