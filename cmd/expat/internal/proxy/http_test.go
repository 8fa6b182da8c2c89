package proxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/verifier/ear"
)

// web is a plain backend that shows what it was sent.
func web(t *testing.T, more func(w http.ResponseWriter, r *http.Request)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			for _, v := range values {
				w.Header().Add("Saw-"+name, v)
			}
		}
		w.Header().Set("Saw-Host", r.Host)
		w.Header().Set("Expat-Result", "forged by the backend")
		if more != nil {
			more(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Saw-Trailer", fmt.Sprint(len(r.Trailer)))
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
	}))
	s.Config.ErrorLog = nil
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func writeKey(t *testing.T, dir, name string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	replace(t, filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return key
}

// plainClient speaks HTTP/1.1, or HTTP/2 without TLS.
func plainClient(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func checkToken(t *testing.T, key *ecdsa.PrivateKey, value string) *ear.EAR {
	t.Helper()
	keys, err := ear.Static(ear.Key{Public: &key.PublicKey})
	require.NoError(t, err)
	c, err := ear.NewChecker(ear.CheckerOptions{Keys: keys, Issuer: "expat-proxy", Audience: "backend"})
	require.NoError(t, err)
	e, err := c.Check(t.Context(), []byte(value))
	require.NoError(t, err)
	return e
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	key := writeKey(t, dir, "sign.pem")
	b := web(t, nil)
	result := "result: {key: sign.pem, audience: backend}"
	server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http", result))
	client := start(t, dir, clientSide(server.addrs["web"], "mode: http", result))
	for _, h2 := range []bool{false, true} {
		var first string
		for range 2 {
			body := "body"
			req, err := http.NewRequest(http.MethodPost, "http://"+client.addrs["out"]+"/a/b%2Fc?q=1", io.NopCloser(strings.NewReader(body)))
			require.NoError(t, err)
			for _, name := range []string{"Expat-Result", "expat_result", "EXPAT-Tier", "Expat_Other", "X-Other"} {
				req.Header[name] = []string{"forged"}
			}
			req.Header.Set("X-Forwarded-For", "192.0.2.1")
			req.Trailer = http.Header{"Expat-Result": {"forged"}}
			resp, err := plainClient(t, h2).Do(req)
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, "POST /a/b%2Fc?q=1 body", string(got))
			require.Equal(t, 200, resp.StatusCode)
			require.Equal(t, "localhost", resp.Header.Get("Saw-Host"))
			require.Equal(t, "forged", resp.Header.Get("Saw-X-Other"))
			require.Equal(t, "127.0.0.1", resp.Header.Get("Saw-X-Forwarded-For"), "set by the server side alone")
			require.Equal(t, "https", resp.Header.Get("Saw-X-Forwarded-Proto"))
			require.Equal(t, "0", resp.Header.Get("Saw-Trailer"))
			require.Empty(t, resp.Header.Values("Saw-Expat-Tier"))
			require.Empty(t, resp.Header.Values("Saw-Expat_other"))
			require.Empty(t, resp.Header.Values("Saw-Expat_result"))
			require.Len(t, resp.Header.Values("Saw-Expat-Result"), 1)
			require.Len(t, resp.Header.Values("Expat-Result"), 1)
			told := checkToken(t, key, resp.Header.Get("Saw-Expat-Result"))
			require.Equal(t, attestation.TierAffirming, told.Appraisals()[0].Status)
			checkToken(t, key, resp.Header.Get("Expat-Result"))
			if first == "" {
				first = resp.Header.Get("Saw-Expat-Result")
			}
			require.Equal(t, first, resp.Header.Get("Saw-Expat-Result"), "one token for one connection")
		}
	}
	require.EqualValues(t, 1, server.metric("handshakes_total", `outcome="accepted",proxy="web"`), "connections are kept")
	require.EqualValues(t, 1, client.metric("handshakes_total", `outcome="accepted",proxy="out"`))

	req, err := http.NewRequest(http.MethodConnect, "http://"+client.addrs["out"], nil)
	require.NoError(t, err)
	resp, err := plainClient(t, false).Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
}

// Without a key there is no header at all.
func TestHTTPWithoutKey(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(http.TrailerPrefix+"Expat-Result", "forged")
		w.Header().Set(http.TrailerPrefix+"Other", "kept")
		_, _ = io.WriteString(w, "ok")
	})
	server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http", "reattest: true"))
	client := start(t, dir, clientSide(server.addrs["web"], "mode: http", "reattest: true"))
	req, err := http.NewRequest(http.MethodGet, "http://"+client.addrs["out"], nil)
	require.NoError(t, err)
	req.Header.Set("Expat-Result", "forged")
	resp, err := plainClient(t, false).Do(req)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Empty(t, resp.Header.Values("Saw-Expat-Result"))
	require.Empty(t, resp.Header.Values("Expat-Result"))
	require.Equal(t, http.Header{"Other": {"kept"}}, resp.Trailer)
}

func TestHTTPFaults(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	status := func(t *testing.T, s *running) int {
		t.Helper()
		resp, err := plainClient(t, false).Get("http://" + s.addrs["out"])
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	t.Run("backend down", func(t *testing.T) {
		t.Parallel()
		server := start(t, dir, serverSide("127.0.0.1:1", "mode: http"))
		client := start(t, dir, clientSide(server.addrs["web"], "mode: http"))
		require.Equal(t, http.StatusBadGateway, status(t, client))
		require.EqualValues(t, 1, server.metric("refusals_total", `proxy="web",reason="upstream",side="local"`))
	})
	t.Run("backend slow", func(t *testing.T) {
		t.Parallel()
		b := web(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http", "timeouts: {response: 200ms}"))
		client := start(t, dir, clientSide(server.addrs["web"], "mode: http"))
		require.Equal(t, http.StatusGatewayTimeout, status(t, client))
		require.Equal(t, 1, server.log.lines(t, "no upstream", "in time"))
	})
	t.Run("backend closing early", func(t *testing.T) {
		t.Parallel()
		b := web(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		})
		server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http"))
		client := start(t, dir, clientSide(server.addrs["web"], "mode: http"))
		resp, err := plainClient(t, false).Get("http://" + client.addrs["out"])
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.True(t, err != nil || resp.StatusCode == http.StatusBadGateway, "half an answer is not taken for a whole one")
		require.NoError(t, resp.Body.Close())
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		b := web(t, nil)
		server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http"))
		client := start(t, dir, strings.Replace(clientSide(server.addrs["web"], "mode: http"), "{attester: simulated, state: s}", "{certificate: c.pem, key: c-key.pem}", 1)+cert(t, dir))
		require.Equal(t, http.StatusBadGateway, status(t, client))
		require.EqualValues(t, 1, client.metric("handshakes_total", `outcome="refused",proxy="out"`))
	})
	t.Run("other mode", func(t *testing.T) {
		t.Parallel()
		server := start(t, dir, serverSide("127.0.0.1:1", "mode: tcp"))
		client := start(t, dir, clientSide(server.addrs["web"], "mode: http"))
		require.Equal(t, http.StatusBadGateway, status(t, client))
		eventually(t, func() bool {
			return server.metric("refusals_total", `proxy="web",reason="negotiation",side="local"`) == 1
		}, "counted")
	})
}

// cert writes a certificate of a CA that nobody trusts, and returns no text.
func cert(t *testing.T, dir string) string {
	t.Helper()
	newAuthority(t, dir, "nobody").write(t, "c", "localhost")
	return ""
}

func TestHTTPUpgrade(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	b := web(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	})
	server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http"))
	c := start(t, dir, "version: 1\nshutdown: {timeout: 100ms}\n"+clientSide(server.addrs["web"], "mode: http"))
	conn, err := net.Dial("tcp", c.addrs["out"])
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	_, err = io.WriteString(conn, "ping")
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(r, got)
	require.NoError(t, err)
	require.Equal(t, "ping", string(got))
	require.NoError(t, c.end(), "what was upgraded is cut")
	_, err = r.ReadByte()
	require.Error(t, err)
}

func TestHTTPDrain(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	entered, release := make(chan struct{}), make(chan struct{})
	b := web(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	server := start(t, dir, serverSide(b.Listener.Addr().String(), "mode: http"))
	client := start(t, dir, clientSide(server.addrs["web"], "mode: http"))
	got := make(chan string, 1)
	go func() {
		resp, err := plainClient(t, false).Get("http://" + client.addrs["out"])
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		got <- string(b)
	}()
	<-entered
	client.stop()
	server.stop()
	eventually(t, func() bool { return client.log.lines(t, "draining") == 1 && server.log.lines(t, "draining") == 1 }, "draining")
	close(release)
	require.Equal(t, "done", <-got)
	require.NoError(t, client.end())
	require.NoError(t, server.end())
	require.Zero(t, server.log.lines(t, "connections cut"))
}

func TestHTTPExpiry(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	short, err := os.ReadFile(filepath.Join(dir, "s/policy-client.yaml"))
	require.NoError(t, err)
	replace(t, filepath.Join(dir, "s/short.yaml"), []byte(strings.Replace(string(short), "platform: simulated", "platform: simulated\n    lifetime: 1s", 1)))
	b := web(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	server := start(t, dir, strings.Replace(serverSide(b.Listener.Addr().String(), "mode: http"), "policy-client", "short", 1))
	client := start(t, dir, clientSide(server.addrs["web"], "mode: http"))
	resp, err := plainClient(t, false).Get("http://" + client.addrs["out"])
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err, "a response that lasts longer than the verdict")
	require.NoError(t, resp.Body.Close())
	eventually(t, func() bool { return server.metric("expiries_total", `proxy="web"`) == 1 }, "counted")
}

// A backend that wants TLS and knows its clients.
func TestBackendTLS(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	ca := newAuthority(t, dir, "backends")
	ca.write(t, "sidecar", "sidecar")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Proto, r.TLS.PeerCertificates[0].DNSNames[0])
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.leaf(t, "backend.test")}, ClientCAs: ca.ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	backendTLS := func(name string) string {
		return "backend_tls: {roots: backends.pem, server_name: " + name + ", certificate: sidecar.pem, key: sidecar-key.pem}"
	}
	for mode, want := range map[string]string{"http": "HTTP/2.0 sidecar", "tcp": "HTTP/1.1 sidecar"} {
		server := start(t, dir, serverSide(s.Listener.Addr().String(), "mode: "+mode, backendTLS("backend.test")))
		client := start(t, dir, clientSide(server.addrs["web"], "mode: "+mode))
		resp, err := plainClient(t, false).Get("http://" + client.addrs["out"])
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(got))

		server = start(t, dir, serverSide(s.Listener.Addr().String(), "mode: "+mode, backendTLS("other.test")))
		client = start(t, dir, clientSide(server.addrs["web"], "mode: "+mode))
		resp, err = plainClient(t, false).Get("http://" + client.addrs["out"])
		if err == nil {
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
		}
		require.EqualValues(t, 1, server.metric("refusals_total", `proxy="web",reason="upstream",side="local"`), mode)
	}
}

func TestStrip(t *testing.T) {
	t.Parallel()
	h := http.Header{"Expat-Result": {"x"}, "expat-result": {"x"}, "EXPAT_X": {"x"}, "Expat-": {"x"}, "Expat": {"x"}, "Expatriate": {"x"}, "X-Expat-Result": {"x"}}
	strip(h, sidecars)
	require.Equal(t, http.Header{"Expat": {"x"}, "Expatriate": {"x"}, "X-Expat-Result": {"x"}}, h)
}

func TestSignerForgets(t *testing.T) {
	t.Parallel()
	s := &signer{tokens: make(map[*attestation.Result]token)}
	now := time.Now()
	for i := range maxTokens {
		s.tokens[new(attestation.Result)] = token{made: now, reuse: time.Duration(i%2) * time.Minute}
	}
	s.forget(now)
	require.Len(t, s.tokens, maxTokens/2)
	for range maxTokens {
		s.tokens[new(attestation.Result)] = token{made: now, reuse: time.Minute}
	}
	s.forget(now)
	require.Empty(t, s.tokens)
}
