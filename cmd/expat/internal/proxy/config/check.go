package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// UnixPrefix begins addresses that are paths of Unix sockets.
const UnixPrefix = "unix:"

// Address splits an address into what package net calls network and address.
func Address(s string) (network, address string) {
	if path, ok := strings.CutPrefix(s, UnixPrefix); ok {
		return "unix", path
	}
	return "tcp", s
}

var proxyName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// check finds what contradicts itself.
func (r *reader) check(f *File) {
	if f.Version != Version {
		r.fail("version", fmt.Sprintf("this program does not know version %d of the format", f.Version), "write 1")
	}
	r.atLeast("reload.interval", f.Reload.Interval, lowestInterval)
	if f.Admin != nil {
		r.listen("admin.listen", f.Admin.Listen, f.Admin.OnNetwork, "set on_network, which says what is lost")
	}
	if len(f.Proxies) == 0 || len(f.Proxies) > maxProxies {
		r.fail("proxies", fmt.Sprintf("there are %d", len(f.Proxies)), fmt.Sprintf("list 1 to %d", maxProxies))
	}
	names, listeners := make(map[string]bool), make(map[string]bool)
	if f.Admin != nil {
		listeners[f.Admin.Listen] = true
	}
	for i := range f.Proxies {
		p, path := &f.Proxies[i], fmt.Sprintf("proxies[%d]", i)
		if names[p.Name] {
			r.fail(path+".name", "another proxy has it", "give each its own")
		}
		if listeners[p.Listen] && !strings.HasSuffix(p.Listen, ":0") {
			r.fail(path+".listen", "another listener has it", "give each its own")
		}
		names[p.Name], listeners[p.Listen] = true, true
		r.proxy(path, p)
	}
}

func (r *reader) proxy(path string, p *Proxy) {
	r.demand(proxyName.MatchString(p.Name), path+".name", fmt.Sprintf("%.60q is no name", p.Name), "write 1 to 40 of a-z, 0-9 and -, not - first")
	if p.Side == "" {
		r.fail(path+".side", "it is missing", "write server or client")
		return
	}
	r.upstreams(path, p)
	r.identity(path, p)
	r.verify(path, p)
	r.onlyFor(path, p)
	if p.Result != nil {
		r.result(path+".result", p.Result)
	}
	if p.BackendTLS != nil {
		r.backend(path+".backend_tls", p.BackendTLS)
	}
	for name, n := range map[string]int{"connections": p.Limits.Connections, "connections_per_client": p.Limits.ConnectionsPerClient,
		"new_per_second_per_client": p.Limits.NewPerSecondPerClient, "exchanges": p.Limits.Exchanges} {
		r.demand(n <= maxConnections, path+".limits."+name, "it is too high", fmt.Sprintf("write at most %d", maxConnections))
	}
	for name, d := range map[string]time.Duration{"handshake": p.Timeouts.Handshake, "connect": p.Timeouts.Connect, "idle": p.Timeouts.Idle, "response": p.Timeouts.Response} {
		r.atLeast(path+".timeouts."+name, d, lowestTimeout)
	}
}

// onlyFor finds fields that one side or mode alone has.
func (r *reader) onlyFor(path string, p *Proxy) {
	server, http := p.Side == Server, p.Mode == HTTP
	for _, f := range []struct {
		name     string
		set, fit bool
		where    string
	}{
		{"plain_listener_on_network", p.PlainListenerOnNetwork, !server, "on the client side"},
		{"server_name", p.ServerName != "", !server, "on the client side; see names, and backend_tls.server_name"},
		{"plain_upstreams_on_network", p.PlainUpstreamsOnNetwork, server && p.BackendTLS == nil, "on the server side, without backend_tls"},
		{"backend_tls", p.BackendTLS != nil, server, "on the server side"},
		{"proxy_protocol", p.ProxyProtocol != "", server && !http, "on the server side in mode tcp"},
		{"result", p.Result != nil, http && p.Verify != nil, "in mode http, with verify"},
		{"reattest_every", p.ReattestEvery != 0, p.Verify != nil, "with verify: nobody is asked without it"},
	} {
		r.demand(!f.set || f.fit, path+"."+f.name, "it means nothing here", "remove it; it belongs "+f.where)
	}
	r.demand(p.ReattestEvery == 0 || p.ReattestEvery >= lowestReattest, path+".reattest_every", "it is too short", "write at least 1s")
	r.demand(server || p.ServerName != "", path+".server_name", "it is missing", "write the name that upstreams must prove")
	r.demand(p.Verify != nil || p.Identity != nil && p.Identity.Attester != "", path, "nothing is attested", "give verify, or an attester in identity, or both")
}

// upstreams checks both ends of a proxy: what is plain stays on this machine.
func (r *reader) upstreams(path string, p *Proxy) {
	if p.Side == Client {
		r.listen(path+".listen", p.Listen, p.PlainListenerOnNetwork, "listen on loopback, or set plain_listener_on_network, which says what is lost")
	} else {
		tests := p.Identity != nil && p.Identity.State != ""
		r.listen(path+".listen", p.Listen, !tests || p.Identity.ExposeTestKeys, "listen on loopback, or set identity.expose_test_keys, which says what is lost")
	}
	if len(p.Upstreams) == 0 || len(p.Upstreams) > maxTargets {
		r.fail(path+".upstreams", fmt.Sprintf("there are %d", len(p.Upstreams)), fmt.Sprintf("list 1 to %d", maxTargets))
	}
	for i, u := range p.Upstreams {
		at := fmt.Sprintf("%s.upstreams[%d]", path, i)
		network, address := Address(u)
		if network == "unix" {
			r.demand(filepath.IsAbs(address), at, "it is no absolute path", "write unix:/PATH")
			continue
		}
		host, port, err := net.SplitHostPort(address)
		r.demand(err == nil && host != "" && port != "" && port != "0", at, fmt.Sprintf("%.80q is no address", u), "write HOST:PORT or unix:/PATH")
		plain := p.Side == Server && p.BackendTLS == nil && !p.PlainUpstreamsOnNetwork
		r.demand(!plain || isLoopback(host), at, "it is not on this machine, and would be sent plain text", "use backend_tls, or set plain_upstreams_on_network, which says what is lost")
	}
}

// listen checks the address of a listener, which is on loopback unless allowed.
func (r *reader) listen(path, listen string, network bool, remedy string) {
	kind, address := Address(listen)
	if kind == "unix" {
		r.demand(filepath.IsAbs(address) && len(address) < 104, path, "it is no absolute path of less than 104 bytes", "write unix:/PATH")
		return
	}
	host, port, err := net.SplitHostPort(address)
	_, ip := netip.ParseAddr(host)
	if err != nil || port == "" || host != "" && ip != nil {
		r.fail(path, fmt.Sprintf("%.80q is no address to listen on", listen), "write IP:PORT, or :PORT for all addresses")
		return
	}
	r.demand(network || isLoopback(host), path, "it is not a loopback address", remedy)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (r *reader) identity(path string, p *Proxy) {
	id := p.Identity
	path += ".identity"
	if id == nil {
		r.demand(p.Side == Client, path, "it is missing", "the server side needs a certificate: write certificate and key, or state")
		return
	}
	parts := strings.Split(id.Attester, "+")
	known := []string{"simulated", "tpm", "sevsnp", "tdx"}
	for i, part := range parts {
		r.demand(id.Attester == "" || slices.Contains(known, part) && !slices.Contains(parts[:i], part),
			path+".attester", fmt.Sprintf("%.40q is not known", id.Attester), "write one of "+strings.Join(known, ", ")+", or several such as sevsnp+tpm")
	}
	r.demand(len(parts) == 1 || slices.Contains(parts, "tpm"), path+".attester", "it has no tpm", "the key of several platforms is in a TPM: add it")
	files := id.Certificate != "" && id.Key != ""
	r.demand((id.Certificate == "") == (id.Key == ""), path, "one of certificate and key is missing", "give both")
	r.demand(files != (id.State != ""), path, "it has not exactly one of certificate and state", "give certificate and key, or state")
	r.demand(!files || slices.Contains([]string{"", "sevsnp", "tdx"}, id.Attester), path+".attester", "its key is not in a file", "give state in place of certificate and key")
	r.demand(files || id.Attester != "", path+".attester", "it is missing", "with state, name an attester")
	r.demand(!files || len(id.Names) == 0 && !id.ExposeTestKeys, path, "names and expose_test_keys are for state", "remove them")
	r.remote(path+".passport", id.Passport, false)
	r.demand(id.Passport == nil || id.Attester != "", path+".passport", "there is no attester", "name one: the Verifier judges its Evidence")
	r.demand(!id.PassportCached || id.Passport != nil, path+".passport_cached", "there is no passport", "remove it, or give passport")
	r.demand(len(id.Names) == 0 || !slices.Contains(parts, "tpm"), path+".names", "the certificate of a TPM is there already", "give the names to expat tpm enroll")
}

func (r *reader) verify(path string, p *Proxy) {
	v := p.Verify
	needed := p.Side == Client || v != nil
	r.demand(!needed || p.Roots != "", path+".roots", "it is missing", "name the file of the CA that certifies peers")
	if v == nil {
		return
	}
	path += ".verify"
	r.demand(count(v.Policy != "", v.Remote != nil, v.Quorum != nil, v.Passport != nil) == 1, path,
		"it has not exactly one of policy, remote, quorum and passport", "give one")
	r.remote(path+".remote", v.Remote, true)
	if q := v.Quorum; q != nil {
		r.quorum(path+".quorum", q)
	}
	if c := v.Passport; c != nil {
		path += ".passport"
		r.demand(c.Keys != "", path+".keys", "it is missing", "name the keys that sign results")
		r.demand(c.Roots == "" || IsURL(c.Keys), path+".roots", "it means nothing here", "remove it; it belongs to a URL in keys")
		r.demand(c.MaxAge == 0 || c.MaxAge >= time.Second, path+".max_age", "it is too short", "write at least 1s")
	}
}

// quorum leaves media types to the Verifiers, who know them when they are made.
func (r *reader) quorum(path string, q *Quorum) {
	r.demand(len(q.Members) >= 2 && len(q.Members) <= maxMembers, path+".members", fmt.Sprintf("there are %d", len(q.Members)), fmt.Sprintf("list 2 to %d", maxMembers))
	r.demand(q.Need >= 1 && q.Need <= len(q.Members), path+".need", fmt.Sprintf("%d of %d members cannot agree", q.Need, len(q.Members)), "write how many of them must")
	names := make(map[string]bool)
	for i, m := range q.Members {
		at := fmt.Sprintf("%s.members[%d]", path, i)
		r.demand(proxyName.MatchString(m.Name), at+".name", fmt.Sprintf("%.60q is no name", m.Name), "write 1 to 40 of a-z, 0-9 and -, not - first")
		r.demand(!names[m.Name], at+".name", "another member has it", "give each its own")
		names[m.Name] = true
		r.demand(count(m.Policy != "", m.Remote != nil) == 1, at, "it has not exactly one of policy and remote", "give one")
		r.remote(at+".remote", m.Remote, true)
	}
}

// remote checks a Verifier elsewhere, if there is one.
func (r *reader) remote(path string, c *Remote, types bool) {
	if c == nil {
		return
	}
	r.demand(c.URL != "", path+".url", "it is missing", "write the base URL of the Verifier")
	r.demand(c.Keys != "", path+".keys", "it is missing", "name the keys that sign results")
	r.demand(!types || len(c.MediaTypes) > 0, path+".media_types", "it is missing", "list the Evidence that the Verifier appraises")
	r.demand((c.Certificate == "") == (c.Key == ""), path, "one of certificate and key is missing", "give both")
}

// count is how many are true.
func count(all ...bool) int {
	n := 0
	for _, is := range all {
		if is {
			n++
		}
	}
	return n
}

func (r *reader) result(path string, c *Result) {
	r.demand(c.Key != "", path+".key", "it is missing", "name the file of the key that signs")
	r.demand(c.Lifetime >= time.Second && c.Lifetime <= highestResultLifetime, path+".lifetime", "it is out of range", "write 1s to 1h")
}

func (r *reader) backend(path string, b *BackendTLS) {
	r.demand(b.Roots != "", path+".roots", "it is missing", "name the file of the CA that certifies upstreams")
	r.demand(b.ServerName != "", path+".server_name", "it is missing", "write the name that upstreams must prove")
	r.demand((b.Certificate == "") == (b.Key == ""), path, "one of certificate and key is missing", "give both")
}

func (r *reader) atLeast(path string, d, lowest time.Duration) {
	r.demand(d >= lowest, path, "it is too short", fmt.Sprintf("write at least %v", lowest))
}

func (r *reader) demand(good bool, path, problem, remedy string) {
	if !good {
		r.fail(path, problem, remedy)
	}
}
