package proxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

func TestReloadUpstreams(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	first := serve(t, "tcp", "127.0.0.1:0", echo)
	second := serve(t, "tcp", "127.0.0.1:0", echo)
	server, client := pair(t, dir, first.addr)
	good := func() {
		t.Helper()
		got, err := ask(t, client.addrs["out"], "hello")
		require.NoError(t, err)
		require.Equal(t, "hello and the end", got)
	}
	good()
	require.EqualValues(t, 1, first.conns.Load())

	server.write(head + serverSide(second.addr))
	eventually(t, func() bool { return server.log.lines(t, "configuration changed") == 1 }, "the change is seen")
	good()
	require.EqualValues(t, 1, first.conns.Load())
	require.EqualValues(t, 1, second.conns.Load())

	for name, bad := range map[string]string{
		"garbage": "{{{{", "empty": "", "binary": "\xff\x00", "unknown field": head + serverSide(first.addr, "surprise: 1"),
		"another listener": head + serverSide(first.addr, "listen: 127.0.0.1:1"),
		"another side":     head + clientSide(first.addr),
		"one more proxy":   head + serverSide(first.addr) + strings.TrimPrefix(serverSide(first.addr, "listen: 127.0.0.1:1"), "proxies:\n"),
		"other roots":      head + strings.Replace(serverSide(first.addr), "s/ca.pem", "nowhere.pem", 1),
	} {
		before := server.log.lines(t, "configuration not changed")
		server.write(bad)
		eventually(t, func() bool { return server.log.lines(t, "configuration not changed") == before+1 }, name)
		good()
	}
	time.Sleep(200 * time.Millisecond)
	require.Equal(t, 8, server.log.lines(t, "configuration not changed"), "each is reported once")
	server.reload <- struct{}{}
	server.reload <- struct{}{} // the first is done when the second is taken
	require.Equal(t, 8, server.log.lines(t, "configuration not changed"))
	require.NoError(t, os.Remove(server.path))
	eventually(t, func() bool { return server.log.lines(t, "configuration not changed", "the file cannot be read") == 1 }, "a file that is gone")
	good()
	require.EqualValues(t, 9, server.metric("reloads_total", `outcome="failed"`))

	server.write(head + serverSide(first.addr))
	eventually(t, func() bool { return server.log.lines(t, "configuration changed") == 2 }, "the change is seen")
	good()
	require.EqualValues(t, 2, first.conns.Load())
	require.EqualValues(t, 2, server.metric("reloads_total", `outcome="accepted"`))
}

// On demand a change is taken without waiting for the next look.
func TestReloadOnDemand(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	first := serve(t, "tcp", "127.0.0.1:0", echo)
	second := serve(t, "tcp", "127.0.0.1:0", echo)
	const slow = "version: 1\nreload: {interval: 1h}\n"
	server := start(t, dir, slow+serverSide(first.addr))
	client := start(t, dir, clientSide(server.addrs["web"]))
	server.write(slow + serverSide(second.addr))
	server.reload <- struct{}{}
	server.reload <- struct{}{}
	_, err := ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	require.EqualValues(t, 1, second.conns.Load())
}

func TestReloadPolicy(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server, client := pair(t, dir, b.addr)
	name := filepath.Join(dir, "s/policy-client.yaml")
	good, err := os.ReadFile(name)
	require.NoError(t, err)
	_, err = ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	replace(t, name, []byte("garbage: ["))
	server.reload <- struct{}{}
	eventually(t, func() bool { return server.log.lines(t, "policy not changed") == 1 }, "reported")
	_, err = ask(t, client.addrs["out"], "hello")
	require.NoError(t, err, "the policy before is in force")
	replace(t, name, []byte(strings.ReplaceAll(string(good), `client-image: "`, `client-image: "9`)))
	server.reload <- struct{}{}
	eventually(t, func() bool { return server.log.lines(t, "policy changed") == 1 }, "reported")
	_, err = ask(t, client.addrs["out"], "hello")
	require.Error(t, err, "the stricter policy")
	require.EqualValues(t, 1, server.metric("policy_reloads_total", `outcome="accepted",proxy="web"`))
	require.EqualValues(t, 1, server.metric("policy_reloads_total", `outcome="failed",proxy="web"`))
}

// A server that shows a certificate from a file, to clients that attest.
func TestReloadCertificate(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	old, next := newAuthority(t, dir, "old"), newAuthority(t, dir, "next")
	old.write(t, "cert", "localhost")
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	text := strings.Replace(serverSide(b.addr), "{attester: simulated, state: s}", "{certificate: cert.pem, key: cert-key.pem}", 1)
	server := start(t, dir, text)
	dial := func(ca *authority) error {
		cfg := peer(t, dir)
		cfg.TLS.RootCAs, cfg.Verifier = ca.ca.Pool(), nil
		c, err := expat.Dial(t.Context(), "tcp", server.addrs["web"], cfg)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	require.NoError(t, dial(old))
	require.Error(t, dial(next))
	expires := server.metric("certificate_expiry_timestamp_seconds", `proxy="web"`)
	require.InDelta(t, time.Now().Unix(), expires, 400*24*3600)

	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "cert-key.pem")
	for _, bad := range []string{cert, key} {
		good, err := os.ReadFile(bad)
		require.NoError(t, err)
		before := server.log.lines(t, "configuration not changed")
		replace(t, bad, []byte("garbage"))
		eventually(t, func() bool { return server.log.lines(t, "configuration not changed") == before+1 }, bad)
		require.NoError(t, dial(old), "the certificate before")
		changed := server.log.lines(t, "configuration changed")
		replace(t, bad, good)
		eventually(t, func() bool { return server.log.lines(t, "configuration changed") == changed+1 }, bad)
	}
	next.write(t, "cert", "localhost")
	eventually(t, func() bool { return dial(next) == nil }, "the new certificate")
	require.Error(t, dial(old))

	// The roots of clients, too.
	replace(t, filepath.Join(dir, "s/ca.pem"), pemOf(next.ca.Root.Raw))
	eventually(t, func() bool { return dial(next) != nil }, "a client of another CA")
	replace(t, filepath.Join(dir, "s/ca.pem"), []byte("garbage"))
	eventually(t, func() bool { return server.log.lines(t, "configuration not changed", "no certificate in PEM") == 1 }, "garbage")
}

// The roots by which a client side judges servers.
func TestReloadRootsOfClient(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	server := start(t, dir, serverSide(b.addr))
	good, err := os.ReadFile(filepath.Join(dir, "s/ca.pem"))
	require.NoError(t, err)
	replace(t, filepath.Join(dir, "roots.pem"), good)
	client := start(t, dir, strings.Replace(clientSide(server.addrs["web"]), "s/ca.pem", "roots.pem", 1))
	_, err = ask(t, client.addrs["out"], "hello")
	require.NoError(t, err)
	other := newAuthority(t, dir, "other")
	replace(t, filepath.Join(dir, "roots.pem"), pemOf(other.ca.Root.Raw))
	eventually(t, func() bool { return client.log.lines(t, "configuration changed") == 1 }, "seen")
	_, err = ask(t, client.addrs["out"], "hello")
	require.Error(t, err)
	require.EqualValues(t, 1, client.metric("refusals_total", `proxy="out",reason="tls",side="local"`))
}
