package expat

import (
	"context"
	"io"

	"github.com/expat-go/expat/internal/wire"
)

// frame is a frame to be sent.
type frame struct {
	typ     wire.Type
	payload []byte
}

// sender writes frames in a goroutine of its own while an exchange runs, so
// that two sides that send large authenticators at the same time both go on
// reading. The goroutine is gone when the exchange is over.
type sender struct {
	w      io.Writer
	trace  *Trace
	broken func() // called when a write fails
	queue  chan []frame
	ended  bool          // queue is closed
	broke  chan struct{} // closed when a write has failed
	done   chan struct{} // closed when the goroutine is gone
	err    error         // valid once broke or done is closed
}

// maxFlights is more than the flights an exchange sends: HELLO with REQUEST,
// AUTHENTICATOR, RESULT and a last word. So send never waits.
const maxFlights = 8

func newSender(w io.Writer, trace *Trace, broken func()) *sender {
	s := &sender{w: w, trace: trace, broken: broken, queue: make(chan []frame, maxFlights), broke: make(chan struct{}), done: make(chan struct{})}
	go s.loop()
	return s
}

func (s *sender) loop() {
	defer close(s.done)
	for flight := range s.queue {
		if s.err != nil {
			continue // let the queue run empty
		}
		if s.err = s.write(flight); s.err != nil {
			close(s.broke)
			s.broken()
		}
	}
}

func (s *sender) write(flight []frame) error {
	var b []byte
	for _, f := range flight {
		var err error
		if b, err = wire.Append(b, f.typ, f.payload); err != nil {
			return err
		}
	}
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	for _, f := range flight {
		s.trace.sent(Frame{Name: f.typ.String(), Size: wire.HeaderSize + len(f.payload)})
	}
	return nil
}

// send queues a flight, which leaves in one write.
func (s *sender) send(flight ...frame) { s.queue <- flight }

// end lets no more be sent and waits until all is written or ctx ends.
func (s *sender) end(ctx context.Context) error {
	if !s.ended {
		s.ended = true
		close(s.queue)
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return over(ctx)
	}
}

// failed returns the error of a failed write, if there is one by now.
func (s *sender) failed() error {
	select {
	case <-s.broke:
		return s.err
	default:
		return nil
	}
}
