package verifier_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/composite"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// machine is a composite device: one simulated environment beside one with a
// report field, which both attest the key of id.
type machine struct {
	*lab
	board *fake
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	return &machine{newLab(t, deviceOptions()), newFake(func(b attestation.Binding) (*evidence.Claims, error) { return report(b), nil })}
}

func (m *machine) attester(t testing.TB, lies ...simulated.Lie) attestation.Attester {
	t.Helper()
	a, err := composite.New(
		composite.Part{Label: "tee", Attester: simulated.NewAttester(m.device, lies...)},
		composite.Part{Label: "board", Attester: m.board},
	)
	require.NoError(t, err)
	return a
}

// judges are the two environments with their policies.
func (m *machine) judges(t testing.TB) (tee, board verifier.Environment) {
	t.Helper()
	p := fakePolicy(m.lab)
	p.Lifetime = time.Hour
	v, err := verifier.New(p, m.board)
	require.NoError(t, err)
	return verifier.Environment{Label: "tee", Verifier: appraiser(t, m.policy)}, verifier.Environment{Label: "board", Verifier: v}
}

func collectionOf(t testing.TB, environments ...verifier.Environment) attestation.Verifier {
	t.Helper()
	v, err := verifier.NewCollection("machine", environments...)
	require.NoError(t, err)
	return v
}

// TestComposite: both environments are appraised on one connection, and the Result
// holds both.
func TestComposite(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, board := m.judges(t)
	v := collectionOf(t, tee, board)
	require.Equal(t, []string{simulated.MediaType, fakeType}, v.MediaTypes())
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		r, err := exchange(t, h, m.id, m.attester(t), v)
		require.NoError(t, err)
		require.Equal(t, "machine", r.Verifier())
		require.Equal(t, attestation.TierAffirming, r.Tier())
		require.Equal(t, time.Hour, r.Lifetime(), "the shortest")
		require.Len(t, r.Appraisals(), 2)
		for i, want := range []struct{ label, platform, policy string }{{"tee", "simulated", "test policy"}, {"board", "fake", "fake"}} {
			a := r.Appraisals()[i]
			require.Equal(t, want.label, a.Environment)
			require.Equal(t, want.platform, a.Claims["platform"])
			require.Equal(t, want.policy, a.Policy)
			require.Equal(t, attestation.TierAffirming, a.Status)
		}
	}
}

// repack makes a collection of leaves under the labels given.
func repack(t testing.TB, items ...any) *cmw.Message {
	t.Helper()
	var list []cmw.Item
	for i := 0; i < len(items); i += 2 {
		list = append(list, cmw.Item{Label: cmw.TextLabel(items[i].(string)), Message: items[i+1].(*cmw.Message)})
	}
	c, err := cmw.NewCollection("", list)
	require.NoError(t, err)
	return c
}

// TestCompositeRefused: everything that can be wrong with a collection has an error
// of its own, and names the leaf (G-10).
func TestCompositeRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, board := m.judges(t)
	v := collectionOf(t, tee, board)
	b, whole, err := evidencetest.Attest(context.Background(), crypto.SHA256, m.id, m.attester(t))
	require.NoError(t, err)
	_, elsewhere, err := evidencetest.Attest(context.Background(), crypto.SHA256, m.id, m.attester(t))
	require.NoError(t, err)
	leaf := func(c *cmw.Message, label string) *cmw.Message {
		for _, i := range c.Items() {
			if i.Label == cmw.TextLabel(label) {
				return i.Message
			}
		}
		t.Fatal("no leaf ", label)
		return nil
	}
	m.board.binding = b // the fake reads no bytes
	good, boardLeaf := leaf(whole, "tee"), leaf(whole, "board")
	text, err := cmw.NewRecord("text/plain", []byte("hi"), 0)
	require.NoError(t, err)
	second, err := cmw.NewRecord(fakeType, []byte("another report"), cmw.Evidence)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		message *cmw.Message
		want    error
		label   string
		outcome error
	}{
		"all good":             {message: whole},
		"single leaf":          {good, verifier.ErrNotCollection, "", attestation.ErrRejected},
		"missing":              {repack(t, "tee", good), verifier.ErrLeafMissing, "board", attestation.ErrRejected},
		"unknown":              {repack(t, "tee", good, "board", boardLeaf, "gpu", second), verifier.ErrLeafUnknown, "gpu", attestation.ErrRejected},
		"in place of another":  {repack(t, "tee", good, "Board", boardLeaf), verifier.ErrLeafUnknown, "Board", attestation.ErrRejected},
		"twice":                {repack(t, "tee", good, "board", good), verifier.ErrLeafDoubled, "", attestation.ErrRejected},
		"of another request":   {repack(t, "tee", leaf(elsewhere, "tee"), "board", boardLeaf), verifier.ErrLeafBinding, "tee", attestation.ErrRejected},
		"swapped":              {repack(t, "tee", boardLeaf, "board", good), attestation.ErrMalformed, "tee", attestation.ErrMalformed},
		"of another type":      {repack(t, "tee", good, "board", text), attestation.ErrMalformed, "board", attestation.ErrMalformed},
		"a collection in it":   {repack(t, "tee", repack(t, "tee", good), "board", boardLeaf), nil, "", nil},
		"two in place of one":  {repack(t, "tee", repack(t, "x", good, "y", leaf(elsewhere, "tee")), "board", boardLeaf), verifier.ErrComposite, "tee", attestation.ErrRejected},
		"missing and unknown":  {repack(t, "tee", good, "gpu", second), verifier.ErrLeafMissing, "", attestation.ErrRejected},
		"unknown and doubled":  {repack(t, "tee", good, "board", boardLeaf, "gpu", boardLeaf), verifier.ErrLeafUnknown, "gpu", attestation.ErrRejected},
		"integer label of one": {repack(t, "tee", good, "0", boardLeaf), verifier.ErrLeafUnknown, "0", attestation.ErrRejected},
	} {
		r, err := v.Appraise(context.Background(), b, c.message)
		if c.want == nil {
			require.NoError(t, err, name)
			require.Len(t, r.Appraisals(), 2, name)
			continue
		}
		require.Nil(t, r, name)
		require.ErrorIs(t, err, c.want, name)
		require.ErrorIs(t, err, c.outcome, name)
		var e *verifier.LeafError
		if c.label != "" {
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, c.label, e.Label, name)
		}
	}
	_, err = v.Appraise(context.Background(), b, repack(t, "tee", good, "gpu", second))
	require.ErrorIs(t, err, verifier.ErrLeafUnknown, "all that is wrong is reported")
}

// TestCompositeDoubledOnTheWire: a label that is there twice never arrives.
func TestCompositeDoubledOnTheWire(t *testing.T) {
	t.Parallel()
	leaf := append([]byte{0x82, 0x6a}, append([]byte("text/plain"), 0x41, 0x78)...)
	twice := append([]byte{0xa2}, bytes.Repeat(append([]byte{0x61, 'a'}, leaf...), 2)...)
	_, err := cmw.Decode(twice)
	require.ErrorIs(t, err, cmw.ErrDuplicateLabel)
}

// TestCompositeVerdicts: one environment that is not good makes the whole not
// good, every failed check is reported, and the better appraisals are kept.
func TestCompositeVerdicts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, board := m.judges(t)
	_, err := exchange(t, crypto.SHA256, m.id, m.attester(t, simulated.DebugOn, simulated.WrongKey), collectionOf(t, tee, board))
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, verifier.ErrLeafBinding)
	require.Equal(t, []string{"key hash", "debug"}, names(err))
	var rejected *attestation.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Equal(t, "tee", rejected.Appraisals[0].Environment)
	require.Equal(t, attestation.TierContraindicated, rejected.Appraisals[0].Status)
	require.Equal(t, attestation.TierAffirming, rejected.Appraisals[1].Status)

	_, err = exchange(t, crypto.SHA256, m.id, m.attester(t, simulated.DebugOn), collectionOf(t, tee, board))
	require.NotErrorIs(t, err, verifier.ErrLeafBinding)
	require.Equal(t, []string{"debug"}, names(err))

	// A warning that its own policy accepts is not affirming.
	m.policy.AcceptWarning, m.policy.AllowDebugExposingMemory = true, true
	warned, _ := m.judges(t)
	_, err = exchange(t, crypto.SHA256, m.id, m.attester(t, simulated.DebugOn), collectionOf(t, warned, board))
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, verifier.ErrLeafTier)
}

// TestMayBeAbsent: what may be absent is judged when it is there.
func TestMayBeAbsent(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, board := m.judges(t)
	alone, err := composite.New(composite.Part{Label: "board", Attester: m.board})
	require.NoError(t, err)
	_, err = exchange(t, crypto.SHA256, m.id, alone, collectionOf(t, tee, board))
	require.ErrorIs(t, err, verifier.ErrLeafMissing)
	tee.MayBeAbsent = true
	r, err := exchange(t, crypto.SHA256, m.id, alone, collectionOf(t, tee, board))
	require.NoError(t, err)
	require.Len(t, r.Appraisals(), 1)
	require.Equal(t, "board", r.Appraisals()[0].Environment)
	_, err = exchange(t, crypto.SHA256, m.id, m.attester(t, simulated.DebugOn), collectionOf(t, tee, board))
	require.Equal(t, []string{"debug"}, names(err))
}

// TestSameDeviceTwice: a device cannot stand for two environments by attesting
// twice.
func TestSameDeviceTwice(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, _ := m.judges(t)
	other := tee
	other.Label = "other"
	a, err := composite.New(composite.Part{Label: "tee", Attester: simulated.NewAttester(m.device)},
		composite.Part{Label: "other", Attester: simulated.NewAttester(m.device)})
	require.NoError(t, err)
	_, err = exchange(t, crypto.SHA256, m.id, a, collectionOf(t, tee, other))
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.ErrorIs(t, err, verifier.ErrLeafDoubled)
}

// judge is a Verifier made up by a test.
type judge func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error)

func (judge) MediaTypes() []string { return []string{fakeType} }

func (j judge) Appraise(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	return j(ctx, b, m)
}

// TestVerifiersFail: whatever a Verifier does, no verdict on one environment is
// none on the whole, and a no is a no whatever the others say.
func TestVerifiersFail(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	other, _, err := evidencetest.Attest(context.Background(), crypto.SHA256, identity(t, softwareKey(t)), m.board)
	require.NoError(t, err)
	affirm := func(b attestation.Binding, lifetime time.Duration) (*attestation.Result, error) {
		return attestation.NewResult(b, attestation.ResultOptions{Verifier: "v", Lifetime: lifetime,
			Appraisals: []attestation.Appraisal{{Environment: "e", Status: attestation.TierAffirming, Policy: "p"}}})
	}
	for name, c := range map[string]struct {
		judge judge
		want  []error
		text  string
	}{
		"nothing": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { return nil, nil },
			[]error{attestation.ErrUnavailable}, "neither result nor error"},
		"another binding": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return affirm(other, time.Hour)
		}, []error{attestation.ErrUnavailable, attestation.ErrWrongResult}, ""},
		"panic": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { panic("secret") },
			[]error{attestation.ErrUnavailable}, "panicked with a string"},
		"exit": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			runtime.Goexit()
			return nil, nil
		}, []error{attestation.ErrUnavailable}, "ended its goroutine"},
		"unavailable": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return nil, attestation.ErrUnavailable
		}, []error{attestation.ErrUnavailable}, `leaf "board"`},
		"bare no": {func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			return nil, attestation.ErrRejected
		}, []error{attestation.ErrRejected}, ""},
	} {
		tee, _ := m.judges(t)
		v := collectionOf(t, tee, verifier.Environment{Label: "board", Verifier: c.judge})
		_, err := exchange(t, crypto.SHA256, m.id, m.attester(t), v)
		for _, want := range c.want {
			require.ErrorIs(t, err, want, name)
		}
		require.ErrorContains(t, err, c.text, name)
		require.NotContains(t, err.Error(), "secret")
		_, err = exchange(t, crypto.SHA256, m.id, m.attester(t, simulated.DebugOn), v)
		require.ErrorIs(t, err, attestation.ErrRejected, name)
		require.NotErrorIs(t, err, attestation.ErrUnavailable, name)
	}
}

// TestCompositeContext: the end of ctx ends an appraisal whose Verifier is deaf.
func TestCompositeContext(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	b, message, err := evidencetest.Attest(context.Background(), crypto.SHA256, m.id, m.attester(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	late, release := errors.New("too late"), make(chan struct{})
	defer close(release)
	tee, _ := m.judges(t)
	v := collectionOf(t, tee, verifier.Environment{Label: "board", Verifier: judge(
		func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
			cancel(late)
			<-release
			return nil, nil
		})})
	_, err = v.Appraise(ctx, b, message)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, late)
}

// TestCollectionOfCollections: an environment can be composite itself.
func TestCollectionOfCollections(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, board := m.judges(t)
	inner := collectionOf(t, tee, board)
	b, message, err := evidencetest.Attest(context.Background(), crypto.SHA256, m.id, m.attester(t))
	require.NoError(t, err)
	v := collectionOf(t, verifier.Environment{Label: "machine", Verifier: inner})
	r, err := v.Appraise(context.Background(), b, repack(t, "machine", message))
	require.NoError(t, err)
	require.Equal(t, "machine/tee", r.Appraisals()[0].Environment)
	require.Equal(t, "machine/board", r.Appraisals()[1].Environment)
}

func TestNewCollection(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tee, board := m.judges(t)
	optional := tee
	optional.MayBeAbsent = true
	for want, c := range map[string]struct {
		name         string
		environments []verifier.Environment
	}{
		"give a name":                        {"", []verifier.Environment{tee, board}},
		"an environment that may not be abs": {"x", nil},
		"that may not be absent":             {"x", []verifier.Environment{optional}},
		"environment 1 needs a Verifier and": {"x", []verifier.Environment{tee, tee}},
		"environment 0 needs a Verifier":     {"x", []verifier.Environment{{Label: "a"}}},
		"environment 0 needs":                {"x", []verifier.Environment{{Verifier: tee.Verifier}}},
	} {
		_, err := verifier.NewCollection(c.name, c.environments...)
		require.ErrorIs(t, err, verifier.ErrPolicy, want)
		require.ErrorContains(t, err, want)
	}
	e := &verifier.LeafError{Label: strings.Repeat("x", 100), Err: verifier.ErrLeafUnknown}
	require.Less(t, len(e.Error()), 140, "labels come from the peer")
}
