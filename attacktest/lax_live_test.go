package attacktest_test

import (
	"io"
	"net"

	"github.com/expat-go/expat/internal/wire"
)

// laxLive is an open connection on which frames go on; it reads its end.
type laxLive struct {
	net.Conn
	ended chan struct{}
}

func (c laxLive) Read([]byte) (int, error) { <-c.ended; return 0, io.EOF }

// goOn echoes application data, answers, and asks anew, once, without delay.
func (l *lax) goOn() (net.Conn, error) {
	l.live, l.answered = true, false
	if !l.alone {
		var err error
		if l.request, err = l.session.NewRequest(offer()); err != nil {
			return nil, err
		}
		l.judged = false
		l.send(wire.Request, l.request.Bytes())
	}
	c := laxLive{l.tls, make(chan struct{})}
	go func() {
		defer close(c.ended)
		code := 0
		for code == 0 {
			code = l.step()
		}
		if code > 0 {
			l.send(wire.Alert, wire.EncodeAlert(uint16(code)))
		}
		_ = l.tls.Close()
	}()
	return c, nil
}
