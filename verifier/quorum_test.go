package verifier_test

import (
	"context"
	"crypto"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier"
)

// opinionated is a Verifier of given media types that answers as it is told.
type opinionated struct {
	types []string
	judge
}

func (o opinionated) MediaTypes() []string { return o.types }

var (
	errReason = errors.New("a reason")
	errDown   = errors.New("it is down")
)

func says(status attestation.Tier, lifetime time.Duration) judge {
	return func(_ context.Context, b attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		return attestation.NewResult(b, attestation.ResultOptions{Verifier: "v", Lifetime: lifetime, AcceptWarning: true,
			Appraisals: []attestation.Appraisal{{Environment: "board", Status: status, Policy: "p", Claims: map[string]any{"platform": "x"}}}})
	}
}

func answers(err error) judge {
	return func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { return nil, err }
}

// The members that a quorum can have.
var (
	yes       = says(attestation.TierAffirming, time.Hour)
	warning   = says(attestation.TierWarning, time.Hour)
	no        = says(attestation.TierContraindicated, time.Hour)
	bareNo    = answers(attestation.ErrRejected)
	failing   = answers(attestation.Reject(&verifier.CheckError{Check: verifier.CheckDebug, Want: "disabled", Got: "enabled", Err: errReason}))
	malformed = answers(attestation.ErrMalformed)
	down      = answers(errDown)
	nothing   = answers(nil)
	panicking = judge(func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) { panic("secret") })
	exiting   = judge(func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
		runtime.Goexit()
		return nil, nil
	})
	hanging = judge(func(ctx context.Context, _ attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
)

// members are called a, b, c in the order of the judges.
func members(judges ...judge) []verifier.Member {
	var out []verifier.Member
	for i, j := range judges {
		out = append(out, verifier.Member{Name: string(rune('a' + i)), Verifier: j})
	}
	return out
}

func quorumOf(t testing.TB, need int, members ...verifier.Member) attestation.Verifier {
	t.Helper()
	v, err := verifier.NewQuorum("panel", need, members...)
	require.NoError(t, err)
	return v
}

// asked is a message of the fake platform with its Binding.
func asked(t testing.TB) (attestation.Binding, *cmw.Message) {
	t.Helper()
	f := newFake(func(b attestation.Binding) (*evidence.Claims, error) { return report(b), nil })
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, identity(t, softwareKey(t)), f)
	require.NoError(t, err)
	return b, m
}

// votesOf are the votes that a quorum's own appraisal holds.
func votesOf(t testing.TB, all []attestation.Appraisal) map[string]any {
	t.Helper()
	last := all[len(all)-1]
	require.Equal(t, "panel", last.Environment)
	require.Equal(t, "panel", last.Policy)
	return last.Claims["votes"].(map[string]any)
}

// TestQuorum: as many as are needed must say yes; what keeps them from it is
// either a no or no verdict.
func TestQuorum(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	for name, c := range map[string]struct {
		need   int
		judges []judge
		want   error
		votes  map[string]any
	}{
		"one of one":                 {1, []judge{yes}, nil, map[string]any{"a": "affirming"}},
		"all":                        {2, []judge{yes, yes}, nil, map[string]any{"a": "affirming", "b": "affirming"}},
		"all, one no is a veto":      {3, []judge{yes, no, yes}, attestation.ErrRejected, nil},
		"all, a veto beats silence":  {3, []judge{down, no, panicking}, attestation.ErrRejected, nil},
		"all, one down":              {2, []judge{yes, down}, attestation.ErrUnavailable, nil},
		"two of three, no reported":  {2, []judge{yes, failing, yes}, nil, map[string]any{"a": "affirming", "b": "rejected: debug", "c": "affirming"}},
		"two of three, bare no":      {2, []judge{bareNo, yes, yes}, nil, map[string]any{"a": "rejected", "b": "affirming", "c": "affirming"}},
		"two of three, down":         {2, []judge{yes, yes, down}, nil, map[string]any{"a": "affirming", "b": "affirming", "c": "no verdict"}},
		"two of three, malformed":    {2, []judge{yes, yes, malformed}, nil, map[string]any{"a": "affirming", "b": "affirming", "c": "malformed"}},
		"two of three, panic":        {2, []judge{panicking, yes, yes}, nil, map[string]any{"a": "no verdict", "b": "affirming", "c": "affirming"}},
		"two of three, exit":         {2, []judge{exiting, yes, yes}, nil, map[string]any{"a": "no verdict", "b": "affirming", "c": "affirming"}},
		"two of three, hang":         {2, []judge{yes, hanging, yes}, nil, map[string]any{"a": "affirming", "b": "no verdict in time", "c": "affirming"}},
		"two of three, two no":       {2, []judge{yes, no, failing}, attestation.ErrRejected, nil},
		"two of three, warning is":   {2, []judge{yes, warning, warning}, attestation.ErrRejected, nil},
		"two of three, no and down":  {2, []judge{yes, no, down}, attestation.ErrUnavailable, nil},
		"two of three, both down":    {2, []judge{yes, nothing, exiting}, attestation.ErrUnavailable, nil},
		"two of three, no and hang":  {2, []judge{no, hanging, bareNo}, attestation.ErrRejected, nil},
		"malformed to all":           {1, []judge{malformed, malformed}, attestation.ErrMalformed, nil},
		"malformed to one, no of an": {1, []judge{malformed, no}, attestation.ErrRejected, nil},
		"one of three":               {1, []judge{no, down, yes}, nil, map[string]any{"a": "rejected", "b": "no verdict", "c": "affirming"}},
	} {
		r, err := quorumOf(t, c.need, members(c.judges...)...).Appraise(context.Background(), b, m)
		if c.want == nil {
			require.NoError(t, err, name)
			require.Equal(t, attestation.TierAffirming, r.Tier(), name)
			require.Equal(t, "panel", r.Verifier(), name)
			require.True(t, r.Answers(b), name)
			require.Equal(t, c.votes, votesOf(t, r.Appraisals()), name)
			require.Equal(t, c.need, r.Appraisals()[len(r.Appraisals())-1].Claims["need"], name)
			continue
		}
		require.Nil(t, r, name)
		require.ErrorIs(t, err, verifier.ErrNoQuorum, name)
		require.NotContains(t, err.Error(), "secret", name)
		for _, outcome := range []error{attestation.ErrRejected, attestation.ErrUnavailable, attestation.ErrMalformed} {
			if outcome == attestation.ErrMalformed && name == "malformed to one, no of an" {
				continue // the reason of one member beside the rejection
			}
			require.Equal(t, outcome == c.want, errors.Is(err, outcome), "%s: %v", name, err)
		}
	}
}

// TestQuorumResult: what the members found is kept under their names, with the
// shortest lifetime of those who said yes.
func TestQuorumResult(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	q := quorumOf(t, 2, members(says(attestation.TierAffirming, time.Hour), says(attestation.TierAffirming, time.Minute), answers(errDown))...)
	r, err := q.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, time.Minute, r.Lifetime())
	var environments []string
	for _, a := range r.Appraisals() {
		environments = append(environments, a.Environment)
		require.Equal(t, attestation.TierAffirming, a.Status)
	}
	require.Equal(t, []string{"a/board", "b/board", "panel"}, environments)
	require.Equal(t, "p", r.Appraisals()[0].Policy)
	require.Equal(t, "x", r.Appraisals()[0].Claims["platform"])
}

// TestQuorumRefusal: a rejection has the appraisals of all, the reasons of those who
// said no, and in words what the others said.
func TestQuorumRefusal(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	_, err := quorumOf(t, 3, members(yes, failing, down)...).Appraise(context.Background(), b, m)
	require.EqualError(t, err, `attestation rejected: no quorum: 3 of 3 needed, 1 said yes and 1 no; `+
		`member "b": debug: want disabled, got enabled; member "c": it is down`)
	require.Equal(t, []string{"debug"}, names(err))
	require.ErrorIs(t, err, errReason)
	require.NotErrorIs(t, err, errDown)
	var member *verifier.MemberError
	require.ErrorAs(t, err, &member)
	require.Equal(t, "b", member.Member)
	var rejected *attestation.RejectedError
	require.ErrorAs(t, err, &rejected)
	require.Len(t, rejected.Appraisals, 2)
	require.Equal(t, attestation.TierContraindicated, rejected.Appraisals[1].Status)
	require.Equal(t, map[string]any{"a": "affirming", "b": "rejected: debug", "c": "no verdict"}, votesOf(t, rejected.Appraisals))
	require.Equal(t, "a/board", rejected.Appraisals[0].Environment)

	_, err = quorumOf(t, 2, members(yes, failing, down)...).Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, errDown)
	require.NotErrorIs(t, err, attestation.ErrRejected)
	require.ErrorContains(t, err, `member "b": attestation rejected: debug: want disabled, got enabled`)
}

// TestQuorumContext: members that are deaf to ctx hold nobody up, and the end of
// ctx is no yes.
func TestQuorumContext(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	release := make(chan struct{})
	defer close(release)
	deaf := judge(func(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
		<-release
		return nil, nil
	})
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancels := judge(func(ctx context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
		defer cancel(late)
		return yes(ctx, b, m)
	})
	_, err := quorumOf(t, 2, members(cancels, deaf, deaf)...).Appraise(ctx, b, m)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, late)
	require.ErrorIs(t, err, verifier.ErrNoQuorum)

	// With a quorum the deaf cost at most half of the time that is left.
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	r, err := quorumOf(t, 1, members(yes, deaf)...).Appraise(ctx, b, m)
	require.NoError(t, err)
	require.NoError(t, ctx.Err())
	require.Equal(t, map[string]any{"a": "affirming", "b": "no verdict in time"}, votesOf(t, r.Appraisals()))

	// Whoever has not answered is told to stop.
	stopped := make(chan error, 1)
	listening := judge(func(ctx context.Context, _ attestation.Binding, _ *cmw.Message) (*attestation.Result, error) {
		<-ctx.Done()
		stopped <- ctx.Err()
		return nil, ctx.Err()
	})
	_, err = quorumOf(t, 1, members(yes, listening)...).Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.ErrorIs(t, <-stopped, context.Canceled)
}

// TestQuorumWrongBinding: a Result for another connection is no yes.
func TestQuorumWrongBinding(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	other, _ := asked(t)
	foreign := judge(func(ctx context.Context, _ attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
		return yes(ctx, other, m)
	})
	_, err := quorumOf(t, 2, members(yes, foreign)...).Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, attestation.ErrUnavailable)
	require.ErrorIs(t, err, attestation.ErrWrongResult)
}

// TestQuorumMediaTypes: a type is taken that enough members take, and a message is
// put to those only who take all of it.
func TestQuorumMediaTypes(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	typed := func(name string, j judge, types ...string) verifier.Member {
		return verifier.Member{Name: name, Verifier: opinionated{types, j}}
	}
	one := typed("one", yes, "text/a", fakeType, "TEXT/A", "text/only")
	two := typed("two", yes, "TEXT/A", "text/b")
	three := typed("three", bareNo, "text/b", fakeType)
	q := quorumOf(t, 2, one, two, three)
	require.Equal(t, []string{"text/a", fakeType, "text/b"}, q.MediaTypes())
	q.MediaTypes()[0] = "text/plain"
	require.Equal(t, "text/a", q.MediaTypes()[0])
	require.Equal(t, []string{"text/b"}, quorumOf(t, 2, two, three).MediaTypes())

	_, err := q.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, attestation.ErrRejected, "two are needed of the two that take it")
	require.ErrorContains(t, err, "2 of 2 needed, 1 said yes and 1 no")
	r, err := quorumOf(t, 1, one, two, three).Appraise(context.Background(), b, m)
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"one": "affirming", "two": "not asked: it does not take such a message", "three": "rejected",
	}, votesOf(t, r.Appraisals()))

	// One leaf is taken by one and two, the other by one and three: by one only.
	leaf, err := cmw.NewRecord("text/a", []byte("x"), cmw.Evidence)
	require.NoError(t, err)
	_, err = q.Appraise(context.Background(), b, repack(t, "x", leaf, "y", m))
	require.ErrorIs(t, err, attestation.ErrMalformed)
	require.ErrorIs(t, err, verifier.ErrNoQuorum)
	require.ErrorContains(t, err, "1 members take such a message, 2 are needed")
}

// TestQuorumOfAppraisers: two policies judge one device, and the exchange opens
// only where both agree.
// A member whose policy is another since the quorum was made counts with what it reads now.
func TestQuorumOfChangingMembers(t *testing.T) {
	t.Parallel()
	b, m := asked(t)
	changing := &opinionated{types: []string{"a/b"}, judge: yes}
	q := quorumOf(t, 2, verifier.Member{Name: "a", Verifier: changing}, verifier.Member{Name: "b", Verifier: opinionated{[]string{"a/b", fakeType}, yes}})
	require.Equal(t, []string{"a/b"}, q.MediaTypes())
	_, err := q.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, attestation.ErrMalformed)
	changing.types = []string{fakeType}
	require.Equal(t, []string{fakeType}, q.MediaTypes())
	_, err = q.Appraise(context.Background(), b, m)
	require.NoError(t, err)
	changing.types = nil
	require.Empty(t, q.MediaTypes())
	_, err = q.Appraise(context.Background(), b, m)
	require.ErrorIs(t, err, verifier.ErrNoQuorum)
}

func TestQuorumOfAppraisers(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	strict := l.policy
	strict.Lifetime = time.Minute
	q := quorumOf(t, 2,
		verifier.Member{Name: "ours", Verifier: appraiser(t, l.policy)},
		verifier.Member{Name: "theirs", Verifier: appraiser(t, strict)})
	r, err := exchange(t, crypto.SHA384, l.id, simulated.NewAttester(l.device), q)
	require.NoError(t, err)
	require.Equal(t, time.Minute, r.Lifetime())
	require.Equal(t, "theirs/simulated", r.Appraisals()[1].Environment)
	_, err = exchange(t, crypto.SHA384, l.id, simulated.NewAttester(l.device, simulated.WrongNonce), q)
	require.ErrorIs(t, err, attestation.ErrRejected)
	require.Contains(t, names(err), "binder")

	// A quorum can be what judges one environment of a collection.
	c := collectionOf(t, verifier.Environment{Label: "tee", Verifier: q})
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	r, err = c.Appraise(context.Background(), b, repack(t, "tee", m))
	require.NoError(t, err)
	require.Equal(t, "tee/ours/simulated", r.Appraisals()[0].Environment)
}

func TestNewQuorum(t *testing.T) {
	t.Parallel()
	one := members(yes)[0]
	for want, c := range map[string]struct {
		name    string
		need    int
		members []verifier.Member
	}{
		"give the quorum a name":                  {"", 1, members(yes)},
		`give the quorum a name without "/"`:      {"a/b", 1, members(yes)},
		"1 to 2 members to agree, not 0":          {"q", 0, members(yes, yes)},
		"1 to 2 members to agree, not -1":         {"q", -1, members(yes, yes)},
		"1 to 2 members to agree, not 3":          {"q", 3, members(yes, yes)},
		"a quorum of 0 needs":                     {"q", 1, nil},
		"member 1 needs a Verifier and a Name":    {"q", 1, []verifier.Member{one, one}},
		"member 0 needs a Verifier and a Name":    {"q", 1, []verifier.Member{{Verifier: yes}}},
		"member 0 needs":                          {"q", 1, []verifier.Member{{Name: "a"}}},
		`a Name of its own without "/"`:           {"q", 1, []verifier.Member{{Name: "a/b", Verifier: yes}}},
		"there is no media type that 2 members t": {"q", 2, []verifier.Member{one, {Name: "z", Verifier: opinionated{[]string{"text/z"}, yes}}}},
	} {
		_, err := verifier.NewQuorum(c.name, c.need, c.members...)
		require.ErrorIs(t, err, verifier.ErrPolicy, want)
		require.ErrorContains(t, err, want)
	}
}
