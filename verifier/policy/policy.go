package policy

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/strictyaml"
	"github.com/expat-go/expat/verifier"
)

// Version is the version of the format, the field "version" of every file.
const Version = 1

// Platform is what makes Evidence of one kind nameable in a policy file.
type Platform struct {
	// Name is that of the platform in the file, as in "platform: tpm", and of the
	// section with what only this platform has.
	Name string
	// Vendor is the name under which roots that come with the program can be
	// named, "" if there are none, and VendorRoots makes a new pool of them.
	Vendor      string
	VendorRoots func() *x509.CertPool
	// Build makes the Extractor of the platform's section, which may be empty.
	// What is wrong with a field it reports with [Section.Fail]; an error of its
	// own is reported at the section where no field was.
	Build func(s *Section) (evidence.Extractor, error)
	// Learn verifies Evidence as strictly as the platform can be, and returns the
	// lines of its section that fit what the Evidence says. Nil: no draft can be
	// made of its Evidence.
	Learn func(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, []string, error)
	// MediaTypes are those of its Evidence.
	MediaTypes []string
}

// References are reference values that another format holds.
type References struct {
	Measurements map[string][][]byte // as in [verifier.Policy]
	MinVersions  map[string]string
	// Rules are the demands of the same source that the two fields do not express.
	// Their names must be unique in the environment, those of rules in the policy
	// file included.
	Rules []verifier.Rule
}

// ReferenceInput is what a policy file says of a file of reference values.
type ReferenceInput struct {
	Content []byte   // of the file
	Keys    [][]byte // contents of the files of keys, nil if none is named
	Profile string   // "" if none is named
}

// Options say what policy files can name.
type Options struct {
	// Platforms are those that environments can be of. Required.
	Platforms []Platform
	// Rules compiles a rule in CEL. Nil: files with rules are refused.
	Rules func(name, expr string) (verifier.Rule, error)
	// References reads reference values, by the name of their format. A file that
	// names another is refused.
	References map[string]func(ReferenceInput) (References, error)
	// Revoked is handed to every environment: see [verifier.Policy].
	Revoked func(ctx context.Context, c *evidence.Claims) (bool, error)
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Name is how errors call a file that [Parse] is given, and the files that it
	// names are relative to its directory. [Load] sets it. "": "policy".
	Name string

	ctx context.Context
}

// Policy is a policy file in use: a Verifier, immutable and safe for concurrent use.
type Policy struct {
	name         string
	digest       [sha256.Size]byte
	verifier     attestation.Verifier
	composite    bool
	environments []Environment
	sources      []source
}

var _ attestation.Verifier = (*Policy)(nil)

// Environment is what a policy says of one attesting environment.
type Environment struct {
	Name       string // of the environment, its label in a composite device
	Platform   string
	MediaTypes []string
	// MayBeAbsent is whether composite Evidence may lack it.
	MayBeAbsent bool
	// ReferenceValues counts digests and lowest versions, Rules the rules.
	ReferenceValues, Rules int

	appraiser *verifier.Appraiser
}

// Parse reads a policy. The error joins an [*Error] for everything that is wrong
// with the file.
func Parse(ctx context.Context, data []byte, o Options) (*Policy, error) {
	if o.Name == "" {
		o.Name = "policy"
	}
	p, _, err := parse(ctx, data, o)
	return p, err
}

// Load reads a policy from a file of at most [MaxSize] bytes, and what that names.
// The error is as that of [Parse].
func Load(ctx context.Context, path string, o Options) (*Policy, error) {
	p, _, err := load(ctx, path, o)
	return p, err
}

// load also returns the files that it read, or tried to.
func load(ctx context.Context, path string, o Options) (*Policy, []source, error) {
	o.Name = path
	data, err := strictyaml.Read(path)
	if err != nil {
		f := &strictyaml.File{Name: path, Noun: "policy", Kind: ErrFile}
		return nil, []source{newSource(path, nil, err)}, f.Unreadable(err)
	}
	return parse(ctx, data, o)
}

func parse(ctx context.Context, data []byte, o Options) (*Policy, []source, error) {
	o.ctx = ctx
	f := &file{
		File: strictyaml.File{Name: o.Name, Noun: "policy", Kind: ErrFile},
		dir:  filepath.Dir(o.Name), options: &o, sources: []source{newSource(o.Name, data, nil)},
	}
	if len(o.Platforms) == 0 {
		f.Whole(verifier.ErrPolicy, "this program knows no platform", "set Options.Platforms")
		return nil, f.sources, f.Err()
	}
	p := f.policy(data)
	if err := f.Err(); err != nil {
		return nil, f.sources, err
	}
	if ctx.Err() != nil {
		return nil, f.sources, context.Cause(ctx)
	}
	return p, f.sources, nil
}

// Name is that of the policy in its file.
func (p *Policy) Name() string { return p.name }

// Digest is SHA-256 over the SHA-256 digests of the policy file and then of every
// file it names, in the order of the policy file.
func (p *Policy) Digest() [sha256.Size]byte { return p.digest }

// ID is the name with the digest, as results state it.
func (p *Policy) ID() string { return identify(p.name, p.digest) }

func identify(name string, digest [sha256.Size]byte) string {
	return name + "@sha256:" + hex.EncodeToString(digest[:])
}

// Composite tells whether the policy judges collections.
func (p *Policy) Composite() bool { return p.composite }

// Environments are those of the policy, in its order.
func (p *Policy) Environments() []Environment { return append([]Environment(nil), p.environments...) }

// MediaTypes lists what the environments read.
func (p *Policy) MediaTypes() []string { return p.verifier.MediaTypes() }

// Appraise judges a message: one leaf by the environment of its media type, or a
// collection by all of a composite policy.
func (p *Policy) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	return p.verifier.Appraise(ctx, b, m)
}

// errNoRules: the program lacks what compiles rules.
var errNoRules = errors.New("this program was built without CEL")
