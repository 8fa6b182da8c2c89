package config

import (
	"path/filepath"
	"slices"
	"strings"
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
			if *name != "" && !filepath.IsAbs(*name) && !IsURL(*name) {
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
	for _, r := range p.remotes() {
		set(&r.Issuer, defaultVerifierName)
	}
	if p.Verify != nil && p.Verify.Passport != nil {
		set(&p.Verify.Passport.Issuer, defaultVerifierName)
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

// remotes are all Verifiers elsewhere.
func (p *Proxy) remotes() []*Remote {
	var all []*Remote
	if p.Identity != nil {
		all = append(all, p.Identity.Passport)
	}
	if v := p.Verify; v != nil {
		all = append(all, v.Remote)
		if v.Quorum != nil {
			for i := range v.Quorum.Members {
				all = append(all, v.Quorum.Members[i].Remote)
			}
		}
	}
	return slices.DeleteFunc(all, func(r *Remote) bool { return r == nil })
}

// IsURL tells whether keys are fetched.
func IsURL(keys string) bool { return strings.Contains(keys, "://") }

// names are the fields that name files and directories.
func (p *Proxy) names() []*string {
	all := []*string{&p.Roots}
	if p.Identity != nil {
		all = append(all, &p.Identity.State, &p.Identity.Certificate, &p.Identity.Key)
	}
	if p.Verify != nil {
		all = append(all, &p.Verify.Policy)
		if q := p.Verify.Quorum; q != nil {
			for i := range q.Members {
				all = append(all, &q.Members[i].Policy)
			}
		}
		if c := p.Verify.Passport; c != nil {
			all = append(all, &c.Roots, &c.Keys)
		}
	}
	for _, r := range p.remotes() {
		all = append(all, &r.Roots, &r.Certificate, &r.Key, &r.Token, &r.Keys)
	}
	if p.BackendTLS != nil {
		all = append(all, &p.BackendTLS.Roots, &p.BackendTLS.Certificate, &p.BackendTLS.Key)
	}
	if p.Result != nil {
		all = append(all, &p.Result.Key)
	}
	return all
}

// Secrets are the files that nobody else should read.
func (p *Proxy) Secrets() []string {
	var all []string
	if p.Identity != nil {
		all = append(all, p.Identity.Key)
	}
	if p.BackendTLS != nil {
		all = append(all, p.BackendTLS.Key)
	}
	if p.Result != nil {
		all = append(all, p.Result.Key)
	}
	for _, r := range p.remotes() {
		all = append(all, r.Key, r.Token)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
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
	return slices.DeleteFunc(all, func(name string) bool { return name == "" })
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
