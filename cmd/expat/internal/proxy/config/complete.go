package config

import (
	"path/filepath"
)

// complete fills in defaults, and makes names of files absolute, from dir.
func (f *File) complete(dir string) {
	set(&f.Log.Format, defaultLogFormat)
	set(&f.Log.Level, defaultLogLevel)
	set(&f.Shutdown.Timeout, DefaultDrain)
	set(&f.Reload.Interval, DefaultReload)
	for i := range f.Proxies {
		p := &f.Proxies[i]
		p.complete()
		for _, name := range p.names() {
			if *name != "" && !filepath.IsAbs(*name) {
				*name = filepath.Join(dir, *name)
			}
		}
	}
}

func (p *Proxy) complete() {
	set(&p.Mode, TCP)
	set(&p.Limits.Connections, DefaultConnections)
	set(&p.Limits.Exchanges, DefaultExchanges)
	if p.Side == Server {
		set(&p.Limits.ConnectionsPerClient, DefaultPerClient)
		set(&p.Limits.NewPerSecondPerClient, DefaultNewPerSecond)
	}
	set(&p.Timeouts.Handshake, DefaultHandshake)
	set(&p.Timeouts.Connect, DefaultConnect)
	set(&p.Timeouts.Idle, DefaultIdle)
	set(&p.Timeouts.Response, DefaultResponse)
	if p.Identity != nil {
		set(&p.Identity.TPM, defaultTPM)
	}
	if p.Verify != nil && p.Verify.Remote != nil {
		set(&p.Verify.Remote.Issuer, defaultVerifierName)
	}
	if p.Result != nil {
		set(&p.Result.Issuer, defaultResultIssuer)
		set(&p.Result.Lifetime, DefaultResultLifetime)
	}
}

// set gives a field that is not there its default.
func set[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// names are the fields that name files and directories.
func (p *Proxy) names() []*string {
	all := []*string{&p.Roots}
	if p.Identity != nil {
		all = append(all, &p.Identity.State, &p.Identity.Certificate, &p.Identity.Key)
	}
	if p.Verify != nil {
		all = append(all, &p.Verify.Policy)
		if p.Verify.Remote != nil {
			all = append(all, &p.Verify.Remote.Roots, &p.Verify.Remote.Keys)
		}
	}
	if p.BackendTLS != nil {
		all = append(all, &p.BackendTLS.Roots, &p.BackendTLS.Certificate, &p.BackendTLS.Key)
	}
	if p.Result != nil {
		all = append(all, &p.Result.Key)
	}
	return all
}

// Reloaded are the files whose content can change while the sidecar runs, policies
// aside, which are reloaded by themselves.
func (f *File) Reloaded() []string {
	var all []string
	for i := range f.Proxies {
		p := &f.Proxies[i]
		all = append(all, p.Roots)
		if p.Identity != nil {
			all = append(all, p.Identity.Certificate, p.Identity.Key)
		}
		if p.BackendTLS != nil {
			all = append(all, p.BackendTLS.Roots, p.BackendTLS.Certificate, p.BackendTLS.Key)
		}
	}
	var out []string
	for _, name := range all {
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// Fixed is the part of a configuration that holds until the sidecar is started anew:
// two that differ there cannot follow each other in one process.
func (f *File) Fixed() File {
	fixed := *f
	fixed.Proxies = make([]Proxy, len(f.Proxies))
	for i, p := range f.Proxies {
		p.Upstreams, p.PlainUpstreamsOnNetwork, p.ServerName, p.Roots, p.BackendTLS = nil, false, "", "", nil
		p.Limits = Limits{Exchanges: p.Limits.Exchanges}
		if p.Identity != nil {
			id := *p.Identity
			id.Certificate, id.Key = "", ""
			p.Identity = &id
		}
		fixed.Proxies[i] = p
	}
	return fixed
}
