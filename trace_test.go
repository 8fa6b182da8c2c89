package expat

import (
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// recorder writes down what a Trace is told. Frames sent are apart: they are told
// in a goroutine of their own.
type recorder struct {
	mu           sync.Mutex
	events, sent []string
	sizes        map[string]int
}

func (r *recorder) note(list *[]string, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

func (r *recorder) frame(list *[]string, f Frame) {
	r.note(list, "%s", f.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sizes == nil {
		r.sizes = map[string]int{}
	}
	r.sizes[f.Name] = f.Size
}

func (r *recorder) trace() *Trace {
	return &Trace{
		TLSDone:       func(cs tls.ConnectionState) { r.note(&r.events, "tls %v", cs.HandshakeComplete) },
		FrameSent:     func(f Frame) { r.frame(&r.sent, f) },
		FrameReceived: func(f Frame) { r.frame(&r.events, f) },
		Attested:      func(_ time.Duration, err error) { r.note(&r.events, "attested %v", err) },
		Validated:     func(_ time.Duration, err error) { r.note(&r.events, "validated %v", err) },
		Appraised: func(res *attestation.Result, _ time.Duration, err error) {
			r.note(&r.events, "appraised %v %v", res != nil, err)
		},
		Done: func(err error) { r.note(&r.events, "done %v", err) },
	}
}

// The order of a mutual exchange, in which the server shows itself last so that
// there is only one.
func TestTraceOrder(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(mutual)
	sc.ClientFirst = true
	var client, server recorder
	cc.Trace, sc.Trace = client.trace(), server.trace()
	c, s, err1, err2 := connect(t, cc, sc)
	require.NoError(t, errors.Join(err1, err2))
	require.NoError(t, c.Handshake(), "a second one tells nothing")
	require.NotNil(t, s)
	require.Equal(t, []string{
		"tls true", "HELLO", "REQUEST", "attested <nil>", "RESULT",
		"AUTHENTICATOR", "validated <nil>", "appraised true <nil>", "done <nil>",
	}, client.events)
	require.Equal(t, []string{"HELLO", "REQUEST", "AUTHENTICATOR", "RESULT"}, client.sent)
	require.Equal(t, []string{
		"tls true", "HELLO", "REQUEST", "AUTHENTICATOR", "validated <nil>", "appraised true <nil>",
		"attested <nil>", "RESULT", "done <nil>",
	}, server.events)
	require.Equal(t, []string{"HELLO", "REQUEST", "RESULT", "AUTHENTICATOR"}, server.sent)
	require.Equal(t, 4+3, client.sizes["RESULT"], "header included")
}

func TestTraceFailure(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(serverAttests)
	cc.Verifier = &toy{appraise: failing(attestation.ErrRejected)}
	var client, server recorder
	cc.Trace, sc.Trace = client.trace(), server.trace()
	c, s, err1, err2 := connect(t, cc, sc)
	require.Equal(t, []string{
		"tls true", "HELLO", "AUTHENTICATOR", "validated <nil>", "appraised false attestation rejected", "done " + err1.Error(),
	}, client.events)
	require.Equal(t, []string{"tls true", "HELLO", "REQUEST", "attested <nil>", "RESULT", "done " + err2.Error()}, server.events)
	requireDead(t, c)
	requireDead(t, s)
	require.Equal(t, "done "+err1.Error(), client.events[len(client.events)-1], "once")
}

// Any field may be nil, and so may the Trace.
func TestTraceNil(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fields := reflect.TypeFor[Trace]().NumField()
	for skip := range fields + 1 {
		cc, sc := w.configs(mutual)
		var r recorder
		cc.Trace, sc.Trace = r.trace(), &Trace{}
		if skip < fields {
			f := reflect.ValueOf(cc.Trace).Elem().Field(skip)
			f.Set(reflect.Zero(f.Type()))
		} else {
			cc.Trace = nil
		}
		_, _, err1, err2 := connect(t, cc, sc)
		require.NoError(t, errors.Join(err1, err2))
	}
}
