package expat

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/expat-go/expat/internal/wire"
)

// frame is a frame to be sent.
type frame struct {
	typ     wire.Type
	payload []byte
}

// flight is frames that leave in one write.
type flight struct {
	frames []frame
	leaves bool // it is being written, or was; guarded by sender.mu
}

// sender writes frames in a goroutine that lives as long as there is something
// to write. So two sides that send much at the same time both go on reading, a
// Write whose deadline passes leaves no broken record behind, and what belongs
// to an exchange goes ahead of the DATA that waits.
type sender struct {
	w      io.Writer
	trace  *Trace
	broken func()      // called when a write fails
	stale  func() bool // tells that no more data may leave

	mu    sync.Mutex
	queue []*flight     // ahead of data
	data  []byte        // what the Write under way still has to send
	takes bool          // a Write is under way
	torn  bool          // a Write ended with the connection, and not all of it left
	mute  bool          // no more data is taken
	wrote chan struct{} // tells that Write that all is sent, or nothing more will be
	ended bool          // no more is taken
	err   error         // why a write failed; sticky
	idle  chan struct{} // closed when the goroutine is gone; nil: there is none
}

func newSender(w io.Writer, trace *Trace, broken func(), stale func() bool) *sender {
	return &sender{w: w, trace: trace, broken: broken, stale: stale}
}

// frameBuffers hold one DATA frame, which is one TLS record.
var frameBuffers = sync.Pool{New: func() any { return new([wire.HeaderSize + wire.MaxData]byte) }}

// start makes sure that the goroutine runs. It is called with mu held.
func (s *sender) start() {
	if s.idle == nil {
		s.idle = make(chan struct{})
		go s.loop()
	}
}

func (s *sender) loop() {
	var buf *[wire.HeaderSize + wire.MaxData]byte
	s.mu.Lock()
	for s.err == nil {
		var err error
		switch {
		case len(s.queue) > 0:
			f := s.queue[0]
			s.queue = slices.Delete(s.queue, 0, 1)
			f.leaves = true
			s.mu.Unlock()
			err = s.write(f.frames)
			s.mu.Lock()
			f.frames = nil // told looks at f for as long as the connection lasts
		case s.takes && len(s.data) > 0 && s.stale():
			s.mute = true
			s.finish()
		case s.takes && len(s.data) > 0:
			if buf == nil {
				buf = frameBuffers.Get().(*[wire.HeaderSize + wire.MaxData]byte)
			}
			n := min(len(s.data), wire.MaxData)
			b := append(wire.AppendHeader(buf[:0], wire.Data, n), s.data[:n]...)
			s.data = s.data[n:]
			s.mu.Unlock()
			_, err = s.w.Write(b)
			s.mu.Lock()
			if len(s.data) == 0 {
				s.finish()
			}
		default:
			s.rest(buf)
			return
		}
		if err != nil && s.err == nil {
			s.err = err
			s.mu.Unlock()
			s.broken()
			s.mu.Lock()
		}
	}
	s.queue = nil
	s.finish()
	s.rest(buf)
}

// rest ends the goroutine. It is called with mu held, and lets it go.
func (s *sender) rest(buf *[wire.HeaderSize + wire.MaxData]byte) {
	close(s.idle)
	s.idle = nil
	s.mu.Unlock()
	if buf != nil {
		frameBuffers.Put(buf)
	}
}

// finish lets the Write under way go. It is called with mu held.
func (s *sender) finish() {
	if s.takes {
		s.takes = false
		s.wrote <- struct{}{} // it has room: there is one Write at a time
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

// send queues a flight, which leaves in one write. It never waits; what is
// queued is bounded by the order of the frames.
func (s *sender) send(frames ...frame) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &flight{frames: frames}
	if !s.ended && s.err == nil {
		s.queue = append(s.queue, f)
		s.start()
	}
	return f
}

// left tells whether a flight was or is being written.
func (s *sender) left(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f != nil && f.leaves
}

var errWriteClosed = errors.New("expat: write after CloseWrite")

// stream sends application data in DATA frames. It returns when all is written,
// or stop or also is closed, with how much of b was taken by then: what is taken
// leaves. There is one call at a time.
func (s *sender) stream(b []byte, stop, also <-chan struct{}) (int, error) {
	s.mu.Lock()
	if s.err != nil || s.ended || s.mute {
		defer s.mu.Unlock()
		return 0, cmp.Or(s.err, errWriteClosed)
	}
	if s.wrote == nil {
		s.wrote = make(chan struct{}, 1)
	}
	s.data, s.takes = b, true
	s.start()
	s.mu.Unlock()
	finished, over := false, false
	select {
	case <-s.wrote:
		finished = true
	case <-stop:
	case <-also:
		over = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !finished && !s.takes {
		<-s.wrote // it was done at the same moment
	}
	n := len(b) - len(s.data)
	s.torn = over && n < len(b)
	s.data, s.takes = nil, false
	return n, s.err
}

// busy tells whether a Write is under way, or was when the connection ended.
func (s *sender) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takes || s.torn
}

// cut lets no more data leave.
func (s *sender) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = true
	s.finish()
}

// fail makes each later write fail, and the one under way.
func (s *sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.finish()
}

// flush waits until all that is queued is written, or ctx ends.
func (s *sender) flush(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
			return over(ctx)
		}
	}
	return s.failed()
}

// end lets no more be sent and waits until all is written or ctx ends.
func (s *sender) end(ctx context.Context) error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	return s.flush(ctx)
}

// over tells whether end was called.
func (s *sender) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// failed returns the error of a failed write, if there is one by now.
func (s *sender) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
