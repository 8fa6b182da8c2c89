package proxy

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
)

// This file is what happens to a post in TestSoak.

// fate lets one thing after another happen.
func (p *post) fate(ctx context.Context) {
	for n := rand.IntN(6); ctx.Err() == nil && !p.t.Failed(); n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(rand.Int64N(int64(time.Second)))):
		}
		e := []*end{p.server, p.client}[rand.IntN(2)]
		switch n % 6 {
		case 0, 3:
			p.turnBad(e)
		case 1:
			p.epoch.Add(1)
			p.wire.cut()
			p.recovered()
			p.figs.cut.Add(1)
		case 2:
			p.garbage(e)
		case 4:
			p.renewFiles(e)
		case 5:
			p.tighten(e)
		}
		p.server.log.reset()
		p.client.log.reset()
	}
}

// until waits for what must happen soon.
func (p *post) until(what func() bool, message string) {
	assert.Eventually(p.t, what, endWithin, 5*time.Millisecond, p.mode+": "+message)
}

// recovered waits until the post serves again, and says that it does.
func (p *post) recovered() {
	p.until(func() bool { return p.once() == nil }, "it serves again")
	p.epoch.Add(1)
}

// turnBad turns the device of one end: open connections end, and there are no new ones,
// until it is good again.
func (p *post) turnBad(e *end) {
	p.epoch.Add(1)
	e.device.behave(lies[rand.IntN(len(lies))])
	p.mustRefuse()
	p.figs.bad.Add(1)
	e.device.behave()
	p.recovered()
}

func (p *post) mustRefuse() {
	since := time.Now()
	p.until(func() bool { return p.wire.olderThan(since) == 0 }, "connections end where a side is no longer good")
	took := int64(time.Since(since))
	for old := p.figs.worst.Load(); took > old && !p.figs.worst.CompareAndSwap(old, took); old = p.figs.worst.Load() {
	}
	for range 3 {
		assert.Error(p.t, p.once(), "nobody gets through")
		p.figs.refused.Add(1)
	}
}

// tighten gives one end a policy that the other does not meet, and takes it back.
func (p *post) tighten(e *end) {
	name := p.policyOf(e)
	good, err := os.ReadFile(name)
	assert.NoError(p.t, err)
	p.epoch.Add(1)
	p.ledger.strict.Store(true)
	p.policy(e, []byte(strings.ReplaceAll(string(good), `-image: "`, `-image: "9`)), accepted)
	p.mustRefuse()
	p.figs.strict.Add(1)
	p.policy(e, good, accepted)
	p.recovered()
	p.ledger.strict.Store(false)
}

// policyOf is the policy by which an end judges the other.
func (p *post) policyOf(e *end) string {
	if e == p.server {
		return filepath.Join(p.dir, "s/policy-client.yaml")
	}
	return filepath.Join(p.dir, "s/policy-server.yaml")
}

// policy replaces one, and waits until that was taken or refused.
func (p *post) policy(e *end, content []byte, outcome string) {
	before := e.policyReloads(outcome)
	replace(p.t, p.policyOf(e), content)
	e.reload <- struct{}{}
	p.until(func() bool { return e.policyReloads(outcome) == before+1 }, "policy "+outcome)
}

// garbage replaces a file by what is none, for a moment in which all is as before.
func (p *post) garbage(e *end) {
	junk := make([]byte, 1+rand.IntN(1000))
	_, _ = crand.Read(junk)
	p.figs.garbage.Add(1)
	if rand.IntN(3) == 0 {
		good, err := os.ReadFile(p.policyOf(e))
		assert.NoError(p.t, err)
		p.policy(e, junk, failed)
		time.Sleep(100 * time.Millisecond)
		p.policy(e, good, accepted)
		return
	}
	name := []string{e.path, p.file(e.name + ".pem"), p.file(e.name + "-key.pem")}[rand.IntN(3)]
	good, err := os.ReadFile(name)
	assert.NoError(p.t, err)
	p.change(e, failed, func() { replace(p.t, name, junk) })
	time.Sleep(100 * time.Millisecond)
	p.change(e, accepted, func() { replace(p.t, name, good) })
}

// change waits until a change of the configuration's files was taken or refused.
func (p *post) change(e *end, outcome string, do func()) {
	before := e.reloads(outcome)
	do()
	p.until(func() bool { return e.reloads(outcome) > before }, "configuration "+outcome)
}

// renewFiles gives an end another configuration, and a new certificate, of which
// connections notice nothing.
func (p *post) renewFiles(e *end) {
	limit := 1000 + rand.IntN(1000)
	text := p.clientText(limit)
	if e == p.server {
		text = p.serverText(limit)
	}
	newKey := rand.IntN(2) == 0
	p.change(e, accepted, func() { e.write(text) })
	p.change(e, accepted, func() { p.certify(e, newKey) })
	time.Sleep(1500 * time.Millisecond) // each connection renews once
	p.figs.reloaded.Add(2)
}
