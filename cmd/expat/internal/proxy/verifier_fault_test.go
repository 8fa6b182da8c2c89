package proxy

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/service"
)

// verifierService is a Verifier elsewhere, which judges clients; it can be down.
type verifierService struct {
	t       *testing.T
	handler http.Handler
	addr    string
	server  *http.Server
	ended   chan struct{}
}

func newVerifierService(t *testing.T, dir string, lifetime time.Duration) *verifierService {
	t.Helper()
	st := filepath.Join(dir, "s")
	judge, err := platform.Judge(st, platform.Simulated, state.Client)
	require.NoError(t, err)
	key, err := appraise.TestKey(st)
	require.NoError(t, err)
	id, err := appraise.KeyID(key)
	require.NoError(t, err)
	issuer, err := ear.NewIssuer(ear.IssuerOptions{Key: key, KeyID: id, Name: "expat-verifier", Developer: "d", Build: "b", Lifetime: lifetime})
	require.NoError(t, err)
	jwks, err := issuer.JWKS()
	require.NoError(t, err)
	require.NoError(t, appraise.WriteJWKS(st, jwks))
	h, err := service.NewHandler(service.Options{Verifier: judge, Issuer: issuer})
	require.NoError(t, err)
	v := &verifierService{t: t, handler: h, addr: "127.0.0.1:0"}
	v.up()
	t.Cleanup(v.down)
	return v
}

// up serves, where it did before.
func (v *verifierService) up() {
	v.t.Helper()
	ln, err := net.Listen("tcp", v.addr)
	require.NoError(v.t, err)
	v.addr, v.server, v.ended = ln.Addr().String(), &http.Server{Handler: v.handler}, make(chan struct{})
	go func() {
		defer close(v.ended)
		_ = v.server.Serve(ln)
	}()
}

// down closes everything at once.
func (v *verifierService) down() {
	_ = v.server.Close()
	<-v.ended
}

// asks makes the configuration of a server side that asks it.
func (v *verifierService) asks(text string) string {
	remote := `{remote: {url: "http://` + v.addr + `", plain_http_to_loopback: true, keys: s/verifier-jwks.json, media_types: ['` + simulated.MediaType + `'], send_key: true}}`
	return strings.Replace(text, "{policy: s/policy-client.yaml}", remote, 1)
}

// pinging is a plain connection in use, until it ends.
func pinging(t *testing.T, addr string) (lasted <-chan time.Duration) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	buf := make([]byte, 4)
	ping := func() error {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "ping"); err != nil {
			return err
		}
		_, err := io.ReadFull(c, buf)
		return err
	}
	require.NoError(t, ping())
	out, began := make(chan time.Duration, 1), time.Now()
	go func() {
		defer c.Close()
		for ping() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		out <- time.Since(began)
	}()
	return out
}

// While its Verifier is down a server side accepts nobody. An open connection lasts as
// long as its verdict; one that is to be asked anew ends when that is due, or with the
// verdict if that is earlier. When the Verifier is back so is everything.
func TestVerifierDown(t *testing.T) {
	t.Parallel()
	dir := newState(t)
	const lifetime = 5 * time.Second
	v := newVerifierService(t, dir, lifetime)
	b := serve(t, "tcp", "127.0.0.1:0", echo)
	once := start(t, dir, v.asks(serverSide(b.addr)))
	renewing := start(t, dir, v.asks(serverSide(b.addr, "reattest_every: 1s")))
	toOnce := start(t, dir, clientSide(once.addrs["web"]))
	toRenewing := start(t, dir, clientSide(renewing.addrs["web"], "reattest: true"))
	onceLasted, renewingLasted := pinging(t, toOnce.addrs["out"]), pinging(t, toRenewing.addrs["out"])
	eventually(t, func() bool { return renewing.metric("reattestations_total", `outcome="accepted",proxy="web"`) > 0 }, "asked anew")
	v.down()

	_, err := ask(t, toOnce.addrs["out"], "hello")
	require.Error(t, err)
	reasons := `proxy="web",reason="verifier_unavailable",side="local"`
	eventually(t, func() bool { return once.metric("refusals_total", reasons) == 1 }, "counted")
	require.Equal(t, 1, once.log.lines(t, "refused", "verifier_unavailable"), "logged once")
	require.EqualValues(t, 1, toOnce.metric("refusals_total", strings.Replace(reasons, `"web",reason="verifier_unavailable",side="local"`, `"out",reason="verifier_unavailable",side="peer"`, 1)))
	require.EqualValues(t, 2, b.conns.Load(), "nobody unattested")

	require.Greater(t, <-renewingLasted, 900*time.Millisecond)
	eventually(t, func() bool {
		return renewing.metric("reattestations_total", `outcome="failed",proxy="web"`)+renewing.metric("expiries_total", `proxy="web"`) >= 1
	}, "counted")
	eventually(t, func() bool { return renewing.log.lines(t, "cut") == 1 }, "logged once")
	require.Equal(t, 1, renewing.log.lines(t, "cut", "re-attestation", "not reachable"), "and why")
	eventually(t, func() bool { return toRenewing.log.lines(t, "cut", "peer reported: verifier unavailable") == 1 }, "the peer was told")
	require.Greater(t, <-onceLasted, lifetime-3*time.Second, "a verdict stands as long as it was given for") // iat and what is told are in whole seconds
	eventually(t, func() bool { return once.metric("expiries_total", `proxy="web"`) == 1 }, "and no longer")

	v.up()
	for _, client := range []*running{toOnce, toRenewing} {
		eventually(t, func() bool {
			got, err := ask(t, client.addrs["out"], "hello")
			return err == nil && got == "hello and the end"
		}, "served again")
	}
}
