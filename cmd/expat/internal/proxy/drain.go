package proxy

import (
	"context"
	"time"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
)

// drainPoll is how often it is looked whether the last connection has ended.
const drainPoll = 10 * time.Millisecond

// serve accepts until the proxy is drained. In mode tcp connections end with work, in
// mode http that was said when the server was made.
func (p *proxy) serve(work context.Context) error {
	if p.spec.Mode == config.HTTP {
		return p.serveHTTP()
	}
	return p.serveTCP(work)
}

// drain closes the listener and waits until connections have ended, or ctx has. It
// returns how many are left.
func (p *proxy) drain(ctx context.Context) int {
	if p.server != nil {
		if err := p.server.Shutdown(ctx); err == nil && p.requests.Load() == 0 {
			return 0
		}
	} else {
		_ = p.listener.Close()
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for p.listener.Open() > 0 {
		select {
		case <-ctx.Done():
			return p.listener.Open()
		case <-tick.C:
		}
	}
	return 0
}

// finish waits for what was cut.
func (p *proxy) finish() {
	if p.server != nil {
		_ = p.server.Close()
		for p.requests.Load() > 0 {
			time.Sleep(drainPoll)
		}
		return
	}
	p.open.Wait()
}
