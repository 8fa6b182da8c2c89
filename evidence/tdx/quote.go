package tdx

import (
	"encoding/binary"
	"fmt"
)

// Sizes and places in a quote, in bytes (Intel TDX DCAP Quoting Library API,
// Appendix A). All integers are little-endian.
const (
	headerSize   = 48
	body10Size   = 584 // TD quote body of TDX 1.0
	body15Size   = 648 // and of TDX 1.5
	qeReportSize = 384
	sigSize      = 64 // of an ECDSA signature or key on P-256
	maxQEAuth    = 1 << 10

	typeBody10   = 2
	typeBody15   = 3
	typeQEReport = 6 // certification data: QE report
	typePCKChain = 5 // certification data: PCK chain in PEM
)

// quote is the layout of a quote. Nothing in it is verified.
type quote struct {
	raw      []byte
	version  uint16
	body     []byte // TD quote body
	qeReport []byte
}

// cursor reads a quote front to back.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.rest) {
		c.bad = true
		n = len(c.rest)
	}
	out := c.rest[:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); len(b) == 2 {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

// size reads a length that must be that of everything that follows.
func (c *cursor) size() {
	if b := c.take(4); len(b) != 4 || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(c.rest)) {
		c.bad = true
	}
}

// parseQuote walks a quote of version 4 or 5, whose every length must be exact.
// go-tdx-guest trusts these lengths, and panics where they lie.
func parseQuote(raw []byte) (*quote, error) {
	if len(raw) == 0 || len(raw) > maxQuote {
		return nil, fmt.Errorf("%w: it is not 1 to %d bytes", ErrSize, maxQuote)
	}
	c := &cursor{rest: raw}
	q := &quote{raw: raw}
	header := c.take(headerSize)
	if c.bad {
		return nil, ErrQuote
	}
	q.version = binary.LittleEndian.Uint16(header)
	q.body = c.body(q.version)
	c.size() // signature data
	c.take(2 * sigSize)
	c.certification(typeQEReport)
	q.qeReport = c.take(qeReportSize)
	c.take(sigSize)
	auth := int(c.uint16())
	c.take(auth)
	c.certification(typePCKChain)
	if c.bad || auth > maxQEAuth || len(c.rest) == 0 {
		return nil, ErrQuote
	}
	return q, nil
}

// body reads the TD quote body, which has a type and a size since version 5.
func (c *cursor) body(version uint16) []byte {
	switch version {
	case 4:
		return c.take(body10Size)
	case 5:
		kind := c.uint16()
		size := c.take(4)
		if len(size) != 4 {
			return nil
		}
		n := binary.LittleEndian.Uint32(size)
		if (kind == typeBody10 && n == body10Size) || (kind == typeBody15 && n == body15Size) {
			return c.take(int(n))
		}
	}
	c.bad = true
	return nil
}

// certification reads the head of certification data that ends the quote.
func (c *cursor) certification(kind uint16) {
	if c.uint16() != kind {
		c.bad = true
	}
	c.size()
}

// TrimQuote cuts off what a kernel may leave after a quote in its buffer, by the
// lengths in the quote. What is no quote is left as it is.
func TrimQuote(raw []byte) []byte {
	c := &cursor{rest: raw}
	header := c.take(headerSize)
	if c.bad {
		return raw
	}
	c.body(binary.LittleEndian.Uint16(header))
	size := c.take(4)
	if c.bad || len(size) != 4 {
		return raw
	}
	n := uint64(binary.LittleEndian.Uint32(size))
	if n > uint64(len(c.rest)) {
		return raw
	}
	return raw[:len(raw)-len(c.rest)+int(n)]
}

// Fields of the TD quote body.
func (q *quote) field(at, size int) []byte { return q.body[at : at+size] }

func (q *quote) teeTCBSVN() []byte      { return q.field(0, 16) }
func (q *quote) mrSEAM() []byte         { return q.field(16, 48) }
func (q *quote) mrSignerSEAM() []byte   { return q.field(64, 48) }
func (q *quote) seamAttributes() []byte { return q.field(112, 8) }
func (q *quote) attributes() uint64     { return binary.LittleEndian.Uint64(q.field(120, 8)) }
func (q *quote) mrTD() []byte           { return q.field(136, 48) }
func (q *quote) mrConfigID() []byte     { return q.field(184, 48) }
func (q *quote) mrOwner() []byte        { return q.field(232, 48) }
func (q *quote) mrOwnerConfig() []byte  { return q.field(280, 48) }
func (q *quote) rtmr(i int) []byte      { return q.field(328+48*i, 48) }
func (q *quote) reportData() []byte     { return q.field(520, 64) }

// mrServiceTD is nil in a body of TDX 1.0.
func (q *quote) mrServiceTD() []byte {
	if len(q.body) < body15Size {
		return nil
	}
	return q.field(600, 48)
}

// Fields of the quoting enclave's report.
func (q *quote) qeDebug() bool      { return q.qeReport[48]&2 != 0 }
func (q *quote) qeMRSigner() []byte { return q.qeReport[128:160] }
func (q *quote) qeProdID() uint16   { return binary.LittleEndian.Uint16(q.qeReport[256:]) }
func (q *quote) qeSVN() uint16      { return binary.LittleEndian.Uint16(q.qeReport[258:]) }
