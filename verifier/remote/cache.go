package remote

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// cache keeps EARs by what was asked. What it gives back is checked like a new
// answer: signature, lifetime, nonce and key. It is safe for concurrent use, and a
// nil cache keeps nothing.
type cache struct {
	limit int

	mu    sync.Mutex
	kept  map[[32]byte][]byte
	order [][32]byte // oldest first
}

func newCache(limit int) *cache {
	if limit == 0 {
		return nil
	}
	return &cache{limit: limit, kept: make(map[[32]byte][]byte)}
}

func (c *cache) get(id [32]byte) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	token, ok := c.kept[id]
	return token, ok
}

func (c *cache) put(id [32]byte, token []byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.kept[id]; !there {
		c.order = append(c.order, id)
	}
	c.kept[id] = token
	if len(c.order) > c.limit {
		delete(c.kept, c.order[0])
		c.order = c.order[1:]
	}
}

func (c *cache) drop(id [32]byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, id)
	for i, o := range c.order {
		if o == id {
			c.order = append(c.order[:i:i], c.order[i+1:]...)
			return
		}
	}
}

// id is the identity of a question: all that the answer depends on, each part behind
// its length.
func (q *question) id() (id [32]byte) {
	h := sha256.New()
	for _, part := range [][]byte{q.nonce, q.binding.Binder(), q.binding.SPKI(), []byte(q.mediaType), q.body} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write(part)
	}
	h.Sum(id[:0])
	return id
}
