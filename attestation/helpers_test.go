package attestation

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/internal/tlspair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mediaType = "application/vnd.test.evidence"

var (
	errBinder  = errors.New("binder is another")
	errKeyHash = errors.New("key hash is another")
)

var (
	newCA  = sync.OnceValue(func() *testca.CA { return must(testca.New("test", time.Now())) })
	newKey = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	cert   = sync.OnceValue(func() tls.Certificate {
		return must(newCA().Leaf(newKey(), time.Now(), "server.test", "client.test"))
	})
	anyChain = authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func identity() *authenticator.Identity { return must(authenticator.NewIdentity(cert())) }

// pair is both ends of one connection.
type pair struct{ client, server *authenticator.Session }

// connect makes a TLS 1.3 connection over TCP; suite 0 leaves the suite to crypto/tls.
func connect(t testing.TB, suite uint16) pair {
	t.Helper()
	cc := &tls.Config{RootCAs: newCA().Pool(), ServerName: "server.test"}
	sc := &tls.Config{Certificates: []tls.Certificate{cert()}}
	var client, server *tls.Conn
	if suite == 0 {
		client, server = tlspair.Connect(t, cc, sc)
	} else {
		client, server = tlspair.ConnectSuite(t, suite, cc, sc)
	}
	return pair{
		must(authenticator.NewSession(client.ConnectionState(), authenticator.Client)),
		must(authenticator.NewSession(server.ConnectionState(), authenticator.Server)),
	}
}

// record is Evidence that states its binding without any proof.
func record(t testing.TB, typ string, b Binding) *cmw.Message {
	t.Helper()
	m, err := cmw.NewRecord(typ, append(b.Binder(), b.KeyHash()...), cmw.Evidence)
	require.NoError(t, err)
	return m
}

// attester is an Attester made of a function.
type attester struct {
	types []string
	f     func(ctx context.Context, b Binding, accept []string) (*cmw.Message, error)
}

func (a attester) MediaTypes() []string { return a.types }

func (a attester) Attest(ctx context.Context, b Binding, accept []string) (*cmw.Message, error) {
	return a.f(ctx, b, accept)
}

// honest attests with record, in the first type that the peer takes.
func honest(t testing.TB) attester {
	return attester{[]string{mediaType}, func(_ context.Context, b Binding, accept []string) (*cmw.Message, error) {
		return record(t, accept[0], b), nil
	}}
}

// verifier is a Verifier made of a function.
type verifier struct {
	types []string
	f     func(ctx context.Context, b Binding, m *cmw.Message) (*Result, error)
}

func (v verifier) MediaTypes() []string { return v.types }

func (v verifier) Appraise(ctx context.Context, b Binding, m *cmw.Message) (*Result, error) {
	return v.f(ctx, b, m)
}

// strict compares what record states.
func strict() verifier {
	return verifier{[]string{mediaType}, func(_ context.Context, b Binding, m *cmw.Message) (*Result, error) {
		value, n := m.Leaves()[0].Value, b.Hash().Size()
		if len(value) != 2*n {
			return nil, ErrMalformed
		}
		var checks []error
		if !b.MatchBinder(value[:n]) {
			checks = append(checks, errBinder)
		}
		if !b.MatchKeyHash(value[n:]) {
			checks = append(checks, errKeyHash)
		}
		if err := Reject(checks...); err != nil {
			return nil, err
		}
		return NewResult(b, affirming())
	}}
}

func affirming() ResultOptions {
	return ResultOptions{
		Verifier: "strict", Lifetime: time.Minute,
		Appraisals: []Appraisal{{Environment: "test", Status: TierAffirming, Policy: "test policy"}},
	}
}

// offering asks for attestation under p.
func offering(p Profile) authenticator.RequestOptions {
	return authenticator.RequestOptions{Extensions: []authenticator.Extension{p.Offer()}}
}

// ask carries a request from one side to the other.
func ask(t testing.TB, from, to *authenticator.Session, o authenticator.RequestOptions) (*authenticator.Request, *authenticator.ReceivedRequest) {
	t.Helper()
	r, err := from.NewRequest(o)
	require.NoError(t, err)
	received, err := to.ReceiveRequest(r.Bytes())
	require.NoError(t, err)
	return r, received
}

// answer has to answer a request of from with the extensions in the leaf's entry.
func answer(t testing.TB, from, to *authenticator.Session, o authenticator.RequestOptions, leaf ...authenticator.Extension) *authenticator.Peer {
	t.Helper()
	r, received := ask(t, from, to, o)
	b, err := to.Authenticate(context.Background(), received, identity(), leaf...)
	require.NoError(t, err)
	peer, err := from.Validate(r, b, anyChain)
	require.NoError(t, err)
	return peer
}

// attested is answer with the attestation of a.
func attested(t testing.TB, from, to *authenticator.Session, p Profile, a Attester) *authenticator.Peer {
	t.Helper()
	r, received := ask(t, from, to, offering(p))
	e, err := Attest(context.Background(), p, received, identity(), a, []string{mediaType})
	require.NoError(t, err)
	b, err := to.Authenticate(context.Background(), received, identity(), e)
	require.NoError(t, err)
	peer, err := from.Validate(r, b, anyChain)
	require.NoError(t, err)
	return peer
}

// fakeExporter derives values from label and context alone.
type fakeExporter struct{}

func (fakeExporter) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	out := make([]byte, 0, 64)
	for i := byte(0); len(out) < length; i++ {
		h := crypto.SHA256.New()
		h.Write([]byte{i})
		h.Write([]byte(label))
		h.Write(context)
		out = h.Sum(out)
	}
	return out[:length], nil
}

// exporterPair is a pair without TLS.
func exporterPair() pair {
	return pair{
		must(authenticator.NewSessionFromExporter(fakeExporter{}, crypto.SHA256, authenticator.Client)),
		must(authenticator.NewSessionFromExporter(fakeExporter{}, crypto.SHA256, authenticator.Server)),
	}
}
