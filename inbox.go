package expat

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/expat-go/expat/internal/wire"
)

// maxBlocks is how many blocks of application data wait to be read on one
// connection. Above that the pump stops until one is read, and TCP holds the
// peer back.
const maxBlocks = 4

// block is application data that waits to be read. It is one DATA frame, or
// several small ones.
type block struct {
	buf      [wire.MaxData]byte
	from, to int // what of buf waits
}

// blocks are taken when data arrives and given back when it is read: a
// connection that is idle holds none.
var blocks = sync.Pool{New: func() any { return new(block) }}

// inbox holds application data between the pump and Read.
type inbox struct {
	life    context.Context // why it has ended is why reads fail
	reading sync.Mutex      // one Read at a time

	mu    sync.Mutex
	queue [maxBlocks]*block // a ring
	first int
	n     int
	err   error         // after the queue
	ready chan struct{} // tells Read that there is something
	room  chan struct{} // tells the pump that there is room
}

func (in *inbox) init(life context.Context) {
	in.life = life
	in.ready, in.room = make(chan struct{}, 1), make(chan struct{}, 1)
}

// notify tells whoever waits on a channel with room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// fill waits for room and reads n bytes into it.
func (in *inbox) fill(r io.Reader, n int) error {
	if !in.waitRoom() {
		_, err := io.CopyN(io.Discard, r, int64(n))
		return noEOF(err)
	}
	b := blocks.Get().(*block)
	b.from, b.to = 0, n
	if _, err := io.ReadFull(r, b.buf[:n]); err != nil {
		blocks.Put(b)
		return noEOF(err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.life.Err() != nil {
		blocks.Put(b)
		return nil
	}
	if in.n > 0 {
		last := in.queue[(in.first+in.n-1)%maxBlocks]
		if n <= len(last.buf)-last.to { // small frames share a block
			last.to += copy(last.buf[last.to:], b.buf[:n])
			blocks.Put(b)
			return nil
		}
	}
	in.queue[(in.first+in.n)%maxBlocks] = b
	in.n++
	notify(in.ready)
	return nil
}

// waitRoom waits for room. It returns false if nobody will read any more.
func (in *inbox) waitRoom() bool {
	for {
		in.mu.Lock()
		full := in.n == maxBlocks
		in.mu.Unlock()
		switch {
		case in.life.Err() != nil:
			return false
		case !full:
			return true
		}
		select {
		case <-in.room:
		case <-in.life.Done():
		}
	}
}

// noEOF turns the end of the stream inside a frame into an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// end makes reads return err after what waits.
func (in *inbox) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.err = err
	notify(in.ready)
}

// drop throws away what waits.
func (in *inbox) drop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for ; in.n > 0; in.n-- {
		in.pop()
	}
}

// pop gives the first block back. It is called with mu held.
func (in *inbox) pop() {
	blocks.Put(in.queue[in.first])
	in.queue[in.first] = nil
	in.first = (in.first + 1) % maxBlocks
}

// read waits for data and takes as much as there is and fits.
func (in *inbox) read(b []byte, by *deadline) (int, error) {
	in.reading.Lock()
	defer in.reading.Unlock()
	for {
		stop := by.passed()
		switch {
		case in.life.Err() != nil:
			return 0, context.Cause(in.life)
		case isClosed(stop):
			return 0, errDeadline
		}
		if n, err := in.take(b); n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
		select {
		case <-in.ready:
		case <-stop:
		case <-in.life.Done():
		}
	}
}

// take does not wait.
func (in *inbox) take(b []byte) (n int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.life.Err() != nil {
		return 0, context.Cause(in.life)
	}
	for in.n > 0 && n < len(b) {
		f := in.queue[in.first]
		k := copy(b[n:], f.buf[f.from:f.to])
		f.from += k
		n += k
		if f.from == f.to {
			in.pop()
			in.n--
			notify(in.room)
		}
	}
	if n == 0 && in.n == 0 {
		err = in.err
	}
	return n, err
}

// errDeadline is what a Read or Write returns whose deadline has passed.
var errDeadline = os.ErrDeadlineExceeded

// deadline is a point in time that can be moved while it is waited for. The zero
// value is never.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	timer *time.Timer
	done  chan struct{} // closed when it has passed; made when it is asked for
}

// passed is closed when the deadline has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	if !d.at.IsZero() && !isClosed(d.done) && !time.Now().Before(d.at) {
		close(d.done) // before the timer
	}
	return d.done
}

// set moves the deadline, for those who wait too.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.done == nil || isClosed(d.done) {
		d.done = make(chan struct{})
	}
	d.at = t
	d.arm()
}

// stop lets go of the timer. Those who wait are told otherwise.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
}

// arm closes done if it is time, and has itself called again if not. It is called
// with mu held.
func (d *deadline) arm() {
	if d.at.IsZero() {
		return
	}
	if wait := time.Until(d.at); wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if !isClosed(d.done) {
				d.arm()
			}
		})
		return
	}
	close(d.done)
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
