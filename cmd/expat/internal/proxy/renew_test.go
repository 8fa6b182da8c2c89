package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/internal/testca"
)

// clock is a time that tests set: so much later than the real one.
type clock struct{ later atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.later.Load())) }

func (c *clock) set(later time.Duration) { c.later.Store(int64(later)) }

// certificateEnd is when the certificate that a sidecar shows runs out.
func (s *running) certificateEnd(proxy string) time.Time {
	return time.Unix(int64(s.metric("certificate_expiry_timestamp_seconds", `proxy="`+proxy+`"`)), 0)
}

// A certificate that is made of a state directory lasts a week: it is issued anew in
// time, for the same key, so that open connections can go on with it.
func TestRenewOwnCertificate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	c := new(clock)
	server := startAt(t, c, dir, serverSide(b.addr))
	cfg := peer(t, dir)
	cfg.TLS.Time = c.now
	shown := func() *x509.Certificate {
		t.Helper()
		conn, err := expat.Dial(t.Context(), "tcp", server.addrs["web"], cfg)
		require.NoError(t, err)
		defer conn.Close()
		require.Equal(t, conn.PeerCertificates()[0].Raw, conn.ConnectionState().PeerCertificates[0].Raw, "one in both places")
		return conn.PeerCertificates()[0]
	}
	first := shown()
	require.WithinDuration(t, time.Now().Add(7*day), first.NotAfter, time.Minute)
	require.Equal(t, first.NotAfter.Unix(), server.certificateEnd("web").Unix())
	c.set(4 * day)
	time.Sleep(100 * time.Millisecond) // several looks
	require.Equal(t, first.Raw, shown().Raw, "it is early")

	c.set(5 * day)
	eventually(t, func() bool { return server.log.lines(t, "certificate renewed") == 1 }, "renewed")
	second := shown()
	require.WithinDuration(t, time.Now().Add(12*day), second.NotAfter, time.Minute)
	require.Equal(t, second.NotAfter.Unix(), server.certificateEnd("web").Unix())
	require.Equal(t, first.RawSubjectPublicKeyInfo, second.RawSubjectPublicKeyInfo)
	require.Equal(t, first.DNSNames, second.DNSNames)

	// A reload keeps the new one.
	server.write(head + serverSide("127.0.0.1:1"))
	eventually(t, func() bool { return server.log.lines(t, "configuration changed") == 1 }, "changed")
	require.Equal(t, second.Raw, shown().Raw)

	// What keeps it from being renewed is told once, and tried again.
	key := filepath.Join(dir, "s/ca-test-key.pem")
	require.NoError(t, os.Rename(key, key+".away"))
	c.set(10 * day)
	eventually(t, func() bool { return server.log.lines(t, "certificate not renewed", "ca-test-key.pem is missing") == 1 }, "told")
	require.Equal(t, second.Raw, shown().Raw)
	require.NoError(t, os.Rename(key+".away", key))
	eventually(t, func() bool { return server.log.lines(t, "certificate renewed") == 2 }, "renewed")
	require.WithinDuration(t, time.Now().Add(17*day), shown().NotAfter, time.Minute)
	require.Equal(t, 1, server.log.lines(t, "certificate not renewed"))
}

// The client side too, in both modes: servers judge it by the clock of their own.
func TestRenewOwnCertificateOfClient(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := web(t, nil)
	for _, mode := range []string{"tcp", "http"} {
		c := new(clock)
		server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: "+mode))
		client := startAt(t, c, dir, clientSide(server.addrs["web"], "mode: "+mode))
		before := client.certificateEnd("out")
		c.set(5 * 24 * time.Hour)
		eventually(t, func() bool { return client.log.lines(t, "certificate renewed") == 1 }, "renewed")
		require.WithinDuration(t, before.Add(5*24*time.Hour), client.certificateEnd("out"), time.Minute)
		resp, err := plainClient(t, false).Get("http://" + client.addrs["out"])
		if err == nil {
			require.NoError(t, resp.Body.Close())
			require.Equal(t, 502, resp.StatusCode)
		}
		eventually(t, func() bool {
			return server.log.lines(t, "refused", "certificate has expired or is not yet valid") == 1
		}, "the certificate of next week is the one that is shown")
	}
}

// A certificate that cannot be used now does not take the place of one that can; one
// that is early is used when its time has come.
func TestReloadCertificateOfAnotherTime(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	a := newAuthority(t, dir, "ca")
	c := new(clock)
	put := func(later time.Duration) {
		t.Helper()
		ca, err := testca.New("ca", time.Now().Add(later))
		require.NoError(t, err)
		(&authority{ca, dir}).writeAt(t, time.Now().Add(later), "cert", "localhost")
	}
	a.write(t, "cert", "localhost")
	text := strings.Replace(serverSide("127.0.0.1:1"), "{attester: simulated, state: s}", "{certificate: cert.pem, key: cert-key.pem}", 1)
	server := startAt(t, c, dir, text)
	first := server.certificateEnd("web")
	for _, later := range []time.Duration{-2000 * time.Hour * 24, 2000 * time.Hour * 24} {
		put(later)
		eventually(t, func() bool { return server.log.lines(t, "configuration not changed", "not valid now") > 0 }, "told")
		require.Equal(t, first, server.certificateEnd("web"))
	}
	eventually(t, func() bool { return server.log.lines(t, "configuration not changed", "not valid now") >= 2 }, "told")
	c.set(2000 * time.Hour * 24)
	eventually(t, func() bool { return server.certificateEnd("web").After(first) }, "its time has come")

	_, err := tryStart(t, dir, text+"#listen:")
	require.ErrorContains(t, err, "certificate is not valid now")
}

// All that is built at one time is built of one content.
func TestOneContent(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	f := make(files)
	for _, content := range []string{"first", "second"} {
		replace(t, name, []byte(content))
		b, err := f.read(name)
		require.NoError(t, err)
		require.Equal(t, "first", string(b))
	}
	require.True(t, f.changed())
}

// Certificates as Kubernetes replaces them: a directory behind two symbolic links.
func TestReloadBySymlink(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	var ends []time.Time
	for _, version := range []string{"v1", "v2"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		cert := newAuthority(t, filepath.Join(dir, version), "ca").write(t, "tls", "localhost")
		ends = append(ends, cert.Leaf.NotAfter)
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // another end
	}
	require.NoError(t, os.Symlink("v1", filepath.Join(dir, "..data")))
	for _, name := range []string{"tls.pem", "tls-key.pem"} {
		require.NoError(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	server := start(t, dir, strings.Replace(serverSide("127.0.0.1:1"), "{attester: simulated, state: s}", "{certificate: tls.pem, key: tls-key.pem}", 1))
	require.Equal(t, ends[0].Unix(), server.certificateEnd("web").Unix())
	require.NoError(t, os.Symlink("v2", filepath.Join(dir, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	eventually(t, func() bool { return server.certificateEnd("web").Unix() == ends[1].Unix() }, "taken")
}

// What takes the place of a file and is none changes nothing, and holds up nobody.
func TestReloadOfNoFile(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"a huge file": func(path string) error { return os.WriteFile(path, make([]byte, 2<<20), 0o600) },
		"a loop":      func(path string) error { return os.Symlink(strings.TrimSuffix(path, ".no"), path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newState(t)
			b := serve(t, "tcp", "127.0.0.1:0", echo)
			server, client := pair(t, dir, b.addr)
			for i, path := range []string{filepath.Join(dir, "s/ca.pem"), server.path} {
				before := server.log.lines(t, "configuration not changed")
				require.NoError(t, put(path+".no"))
				require.NoError(t, os.Rename(path, path+".away"))
				eventually(t, func() bool { return server.log.lines(t, "configuration not changed") == before+1 }, "it is gone")
				require.NoError(t, os.Rename(path+".no", path))
				eventually(t, func() bool { return server.log.lines(t, "configuration not changed") == before+2 }, path)
				got, err := ask(t, client.addrs["out"], "hello")
				require.NoError(t, err)
				require.Equal(t, "hello and the end", got)
				require.NoError(t, os.RemoveAll(path))
				require.NoError(t, os.Rename(path+".away", path))
				eventually(t, func() bool { return server.log.lines(t, "configuration changed") == i+1 }, path)
			}
		})
	}
}

// startAt is start with a clock.
func startAt(t testing.TB, c *clock, dir, text string) *running {
	t.Helper()
	s, err := tryStartChanged(t, dir, text, func(p *proxy) { p.now = c.now })
	require.NoError(t, err)
	return s
}

// writeAt is write at a time.
func (a *authority) writeAt(t testing.TB, at time.Time, name string, names ...string) tls.Certificate {
	t.Helper()
	return a.put(t, name, a.leafAt(t, at, names...))
}
