package verifier_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
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

// prepared is an Extractor of claims that were extracted before, so that only the
// appraisal remains.
type prepared struct{ claims *evidence.Claims }

func (prepared) MediaTypes() []string { return []string{simulated.MediaType} }

func (p prepared) Extract(context.Context, string, []byte, *x509.CertPool, time.Time) (*evidence.Claims, error) {
	return p.claims, nil
}

// scene is a message that was appraised once, with its claims.
type scene struct {
	*lab
	binding attestation.Binding
	message *cmw.Message
	claims  *evidence.Claims
}

func newScene(t testing.TB) *scene {
	t.Helper()
	l := newLab(t, deviceOptions())
	b, m, err := evidencetest.Attest(context.Background(), crypto.SHA256, l.id, simulated.NewAttester(l.device))
	require.NoError(t, err)
	c, err := simulated.Extractor{}.Extract(context.Background(), simulated.MediaType, m.Leaves()[0].Value, l.vendor.Roots(), time.Now())
	require.NoError(t, err)
	return &scene{l, b, m, c}
}

// reference is one of many digests that a policy allows.
func reference(i int) []byte {
	d := sha256.Sum256([]byte(strconv.Itoa(i)))
	return d[:]
}

// many gives the policy n reference values of each kind; the good ones come last.
func (s *scene) many(n int) verifier.Policy {
	p := s.policy
	p.Measurements = map[string][][]byte{"kernel": nil, "app": nil}
	p.Instances = nil
	for i := range n - 1 {
		p.Measurements["kernel"] = append(p.Measurements["kernel"], reference(i))
		p.Measurements["app"] = append(p.Measurements["app"], reference(i))
		p.Instances = append(p.Instances, reference(i)[:17])
		p.RevokedInstances = append(p.RevokedInstances, reference(i)[:16])
	}
	p.Measurements["kernel"] = append(p.Measurements["kernel"], kernel)
	p.Measurements["app"] = append(p.Measurements["app"], app)
	p.Instances = append(p.Instances, instance)
	return p
}

func (s *scene) appraiser(t testing.TB, p verifier.Policy) *verifier.Appraiser {
	t.Helper()
	a, err := verifier.New(p, prepared{s.claims})
	require.NoError(t, err)
	return a
}

// TestManyReferenceValues: the last of many values is found, and an error stays
// short and the same.
func TestManyReferenceValues(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.many(10_000)
	_, err := s.appraiser(t, p).Appraise(context.Background(), s.binding, s.message)
	require.NoError(t, err)
	p.Measurements["kernel"] = p.Measurements["kernel"][:9_999]
	a := s.appraiser(t, p)
	_, first := a.Appraise(context.Background(), s.binding, s.message)
	require.EqualError(t, first, fmt.Sprintf("attestation rejected: measurement \"kernel\": want %x or %x or %x or 9996 more, got %x",
		reference(0), reference(1), reference(2), kernel))
	_, again := a.Appraise(context.Background(), s.binding, s.message)
	require.Equal(t, first, again)
}

// TestAppraiseAllocations bounds the memory that judging one message takes.
func TestAppraiseAllocations(t *testing.T) {
	s := newScene(t)
	a := s.appraiser(t, s.policy)
	n := testing.AllocsPerRun(100, func() {
		if _, err := a.Appraise(context.Background(), s.binding, s.message); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, n, 100.0)
}

func (s *scene) bench(b *testing.B, p verifier.Policy) {
	b.Helper()
	a := s.appraiser(b, p)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Appraise(ctx, s.binding, s.message); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppraise is the appraisal alone, without the signature and the chain.
func BenchmarkAppraise(b *testing.B) {
	s := newScene(b)
	s.bench(b, s.policy)
}

// BenchmarkAppraiseReferenceValues has policies of different sizes.
func BenchmarkAppraiseReferenceValues(b *testing.B) {
	s := newScene(b)
	for _, n := range []int{10, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { s.bench(b, s.many(n)) })
	}
}

// BenchmarkAppraiseSigned includes what the Extractor does.
func BenchmarkAppraiseSigned(b *testing.B) {
	s := newScene(b)
	a := appraiser(b, s.policy)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Appraise(context.Background(), s.binding, s.message); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExplain lists every check.
func BenchmarkExplain(b *testing.B) {
	s := newScene(b)
	a := s.appraiser(b, s.policy)
	b.ReportAllocs()
	for b.Loop() {
		if e, err := a.Explain(context.Background(), s.message, s.binding); err != nil || e.Err != nil {
			b.Fatal(errors.Join(err, e.Err))
		}
	}
}
