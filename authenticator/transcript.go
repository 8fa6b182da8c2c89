package authenticator

import (
	"crypto"
	"crypto/hmac"
	"hash"
)

// transcript is the running hash of RFC 9261, Section 5.2:
//
//	HandshakeContext ‖ request ‖ Certificate ‖ CertificateVerify
//
// over messages as sent or received, headers included. The request is absent
// for a spontaneous authenticator.
type transcript struct {
	h   hash.Hash
	alg crypto.Hash
	key []byte // Finished MAC key of the sender
	buf [64]byte
}

func (s *Session) transcript(sender Role, request []byte) *transcript {
	t := &transcript{h: s.hash.New(), alg: s.hash, key: s.keys[sender].finishedKey}
	t.add(s.keys[sender].handshakeContext)
	t.add(request)
	return t
}

// add appends a message; hash.Hash never returns an error.
func (t *transcript) add(msg []byte) { t.h.Write(msg) }

// sum is the hash so far; valid until the next call.
func (t *transcript) sum() []byte { return t.h.Sum(t.buf[:0]) }

// finished computes verify_data: an HMAC over the transcript's hash.
func (t *transcript) finished() []byte {
	mac := hmac.New(t.alg.New, t.key)
	mac.Write(t.sum())
	return mac.Sum(nil)
}
