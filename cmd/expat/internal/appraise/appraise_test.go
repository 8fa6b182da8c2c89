package appraise

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func pemOf(t *testing.T, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var made [8]crypto.Signer
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			key, err := TestKey(dir)
			if err != nil {
				t.Error(err)
			}
			made[i] = key
		})
	}
	wg.Wait()
	for _, key := range made {
		require.Equal(t, made[0], key, "several at once make one key")
	}
	info, err := os.Stat(filepath.Join(dir, KeyFile))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	id, err := KeyID(made[0])
	require.NoError(t, err)
	require.Len(t, id, 16)
	for _, content := range []string{"{}", `{"keys":[]}`} {
		require.NoError(t, WriteJWKS(dir, []byte(content)))
		got, err := os.ReadFile(filepath.Join(dir, JWKSFile))
		require.NoError(t, err)
		require.Equal(t, content+"\n", string(got))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left over")
	missing := filepath.Join(dir, "missing")
	require.ErrorIs(t, WriteJWKS(missing, nil), ErrKey)
	_, err = TestKey(missing)
	require.ErrorIs(t, err, ErrKey)
	_, err = ReadKey(dir)
	require.ErrorIs(t, err, ErrKey)
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	good := pemOf(t, p256)
	for name, tc := range map[string]struct {
		in   []byte
		good bool
	}{
		"good":         {good, true},
		"comment":      {append([]byte("comment\n"), good...), true},
		"P-384":        {pemOf(t, p384), false},
		"Ed25519":      {pemOf(t, ed), false},
		"two":          {append(append([]byte(nil), good...), good...), false},
		"other header": {[]byte(strings.ReplaceAll(string(good), "PRIVATE KEY", "EC PRIVATE KEY")), false},
		"not DER":      {pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: []byte("x")}), false},
		"empty":        {nil, false},
	} {
		path := filepath.Join(t.TempDir(), "key.pem")
		require.NoError(t, os.WriteFile(path, tc.in, 0o600))
		key, err := ReadKey(path)
		if tc.good {
			require.NoError(t, err, name)
			require.Equal(t, p256.Public(), key.Public(), name)
			continue
		}
		require.ErrorIs(t, err, ErrKey, name)
	}
}

type badKey struct{ crypto.Signer }

func (badKey) Public() crypto.PublicKey { return 7 }

func TestKeyIDOfNoKey(t *testing.T) {
	t.Parallel()
	_, err := KeyID(badKey{})
	require.ErrorIs(t, err, ErrKey)
}

// files writes a CA, and a certificate of it with its key.
func files(t *testing.T) (ca *testca.CA, dir, cert, key, root string) {
	t.Helper()
	dir = t.TempDir()
	ca, err := testca.New("test", time.Now())
	require.NoError(t, err)
	leaf := newLeaf(t, ca)
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	chain := func(der ...[]byte) (out []byte) {
		for _, d := range der {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
		}
		return out
	}
	return ca, dir, write("cert.pem", chain(leaf.Certificate...)), write("key.pem", pemOf(t, leaf.PrivateKey)),
		write("root.pem", chain(leaf.Certificate[len(leaf.Certificate)-1]))
}

func newLeaf(t *testing.T, ca *testca.CA) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf, err := ca.Leaf(key, time.Now(), "127.0.0.1")
	require.NoError(t, err)
	return leaf
}

func TestTLSFiles(t *testing.T) {
	t.Parallel()
	_, dir, cert, key, root := files(t)
	missing := filepath.Join(dir, "missing")
	c, err := TLS("", "", "")
	require.NoError(t, err)
	require.Nil(t, c)
	c, err = TLS(cert, key, "")
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS13, c.MinVersion)
	require.Equal(t, tls.NoClientCert, c.ClientAuth)
	c, err = TLS(cert, key, root)
	require.NoError(t, err)
	require.Equal(t, tls.RequireAndVerifyClientCert, c.ClientAuth)
	for _, args := range [][3]string{{missing, key, ""}, {cert, cert, ""}, {cert, key, missing}, {cert, key, key}} {
		_, err = TLS(args[0], args[1], args[2])
		require.ErrorIs(t, err, ErrTLS)
	}
}

// slow is a Verifier that waits to be released.
type slow struct{ entered, release chan struct{} }

func (slow) MediaTypes() []string { return []string{"a/b"} }

func (s slow) Appraise(context.Context, attestation.Binding, *cmw.Message) (*attestation.Result, error) {
	close(s.entered)
	<-s.release
	return nil, attestation.Reject(errors.New("no"))
}

// The end of the server takes nothing new, and lets what is under way come to its end.
func TestServe(t *testing.T) {
	t.Parallel()
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{Key: ecKey, Name: "n", Developer: "d", Build: "b"})
	require.NoError(t, err)
	v := slow{make(chan struct{}), make(chan struct{})}
	h, err := service.NewHandler(service.Options{Verifier: v, Issuer: issuer})
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, h, slog.New(slog.DiscardHandler)) }()

	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	base := "http://" + ln.Addr().String()
	spki, err := x509.MarshalPKIXPublicKey(ecKey.Public())
	require.NoError(t, err)
	r, err := client.Post(base+"/challenge-response/v1/newSession?nonce="+strings.Repeat("A", 43)+"&key="+base64url(spki), "", nil)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusCreated, r.StatusCode)
	answered := make(chan int, 1)
	go func() {
		r, err := client.Post(base+"/challenge-response/v1/"+r.Header.Get("Location"), "a/b", strings.NewReader("x"))
		if err != nil {
			answered <- 0
			return
		}
		_ = r.Body.Close()
		answered <- r.StatusCode
	}()
	<-v.entered
	stop()
	require.Eventually(t, func() bool {
		r, err := client.Get(base + "/healthz")
		if err == nil {
			_ = r.Body.Close()
		}
		return err != nil
	}, 5*time.Second, 5*time.Millisecond)
	close(v.release)
	require.Equal(t, http.StatusOK, <-answered)
	require.NoError(t, <-ended)

	require.Error(t, Serve(context.Background(), ln, h, slog.New(slog.DiscardHandler)), "the listener is closed")
}

// With roots of clients only they are answered, over HTTP/2.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	ca, _, cert, key, root := files(t)
	config, err := TLS(cert, key, root)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{Key: ecKey, Name: "n", Developer: "d", Build: "b"})
	require.NoError(t, err)
	h, err := service.NewHandler(service.Options{Verifier: slow{}, Issuer: issuer})
	require.NoError(t, err)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, h, slog.New(slog.DiscardHandler)) }()
	for _, known := range []bool{false, true} {
		c := &tls.Config{RootCAs: ca.Pool()}
		if known {
			c.Certificates = []tls.Certificate{newLeaf(t, ca)}
		}
		transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
		r, err := (&http.Client{Transport: transport}).Get("https://" + ln.Addr().String() + "/readyz")
		require.Equal(t, known, err == nil, "%v", err)
		if err == nil {
			require.NoError(t, r.Body.Close())
			require.Equal(t, http.StatusNoContent, r.StatusCode)
			require.Equal(t, 2, r.ProtoMajor)
		}
		transport.CloseIdleConnections()
	}
	stop()
	require.NoError(t, <-ended)
}
