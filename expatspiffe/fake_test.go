package expatspiffe_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// domain is a trust domain: a CA for SPIFFE IDs.
type domain struct {
	name string
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newDomain(t testing.TB, name string) *domain {
	t.Helper()
	d := &domain{name: name, key: newKey(t)}
	u, err := url.Parse("spiffe://" + name)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, URIs: []*url.URL{u},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	d.root = d.sign(t, template, template, d.key.Public())
	return d
}

func (d *domain) sign(t testing.TB, template, parent *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, d.key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

// svid issues an X.509 SVID with a new key, as SPIRE does each time. id may be of
// another domain: then the CA oversteps.
func (d *domain) svid(t testing.TB, id string) *workload.X509SVID {
	t.Helper()
	u, err := url.Parse(id)
	require.NoError(t, err)
	key := newKey(t)
	leaf := d.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"SPIRE"}}, URIs: []*url.URL{u},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, d.root, key.Public())
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return &workload.X509SVID{SpiffeId: id, X509Svid: leaf.Raw, X509SvidKey: der, Bundle: d.root.Raw}
}

// agent is a Workload API that gives one SVID, and a new one when it is told to.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	mu      sync.Mutex
	current *workload.X509SVIDResponse
	changed chan struct{}
}

// newAgent serves on a Unix socket, and returns a source that is fed from it.
func newAgent(t testing.TB, svid *workload.X509SVID, federated ...*domain) (*agent, *workloadapi.X509Source) {
	t.Helper()
	a := &agent{changed: make(chan struct{})}
	a.set(svid, federated...)
	socket := filepath.Join(t.TempDir(), "agent.sock")
	ln, err := net.Listen("unix", socket)
	require.NoError(t, err)
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+socket)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = source.Close() })
	return a, source
}

func (a *agent) set(svid *workload.X509SVID, federated ...*domain) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = &workload.X509SVIDResponse{Svids: []*workload.X509SVID{svid}, FederatedBundles: map[string][]byte{}}
	for _, d := range federated {
		a.current.FederatedBundles["spiffe://"+d.name] = d.root.Raw
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	for {
		a.mu.Lock()
		now, changed := a.current, a.changed
		a.mu.Unlock()
		if err := stream.Send(now); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
