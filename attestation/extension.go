package attestation

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

// Offer is the empty cmw_attestation extension by which a request asks for
// attestation (Section 3.1).
func (p Profile) Offer() authenticator.Extension { return authenticator.Extension{Type: p.extension} }

// Offered reports whether a request asks for attestation. An offer that is not
// empty is [ErrMalformed].
func (p Profile) Offered(r *authenticator.ReceivedRequest) (bool, error) {
	data, ok := r.Extension(p.extension)
	if len(data) != 0 {
		return false, fmt.Errorf("%w: the offer has %d bytes, want none", ErrMalformed, len(data))
	}
	return ok && p.valid(), nil
}

// encode wraps a message into
//
//	struct { opaque cmw_data<1..2^16-1>; } CMWAttestation;
//
// of Section 3, which leaves [cmw.MaxSize] bytes for the message; package cmw
// writes no longer ones.
func (p Profile) encode(m *cmw.Message) (authenticator.Extension, error) {
	data, err := m.MarshalCBOR()
	if errors.Is(err, cmw.ErrTooLarge) {
		return authenticator.Extension{}, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err != nil {
		return authenticator.Extension{}, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	b := append(make([]byte, 0, 2+len(data)), byte(len(data)>>8), byte(len(data)))
	return authenticator.Extension{Type: p.extension, Data: append(b, data...)}, nil
}

// extract takes the message out of a validated authenticator. The extension
// belongs to the leaf's entry and to no other (Section 3).
func (p Profile) extract(peer *authenticator.Peer) (*cmw.Message, error) {
	var data []byte
	found := false
	for i, entry := range peer.Entries() {
		for _, e := range entry.Extensions {
			if e.Type != p.extension {
				continue
			}
			if i != 0 {
				return nil, fmt.Errorf("%w: entry %d", ErrPlacement, i)
			}
			data, found = e.Data, true
		}
	}
	if !found {
		return nil, ErrMissing
	}
	s := cryptobyte.String(data)
	var inner cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&inner) || inner.Empty() || !s.Empty() {
		return nil, fmt.Errorf("%w: cmw_data does not fill the extension", ErrMalformed)
	}
	m, err := cmw.Decode(inner)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, checkLeaves(m)
}

// checkLeaves admits Evidence and Attestation Results, the two messages that
// this protocol carries (RFC 9999 leaves that choice to the protocol). A leaf
// may leave its indicator out.
func checkLeaves(m *cmw.Message) error {
	for _, leaf := range m.Leaves() {
		switch leaf.Indicator {
		case 0, cmw.Evidence, cmw.AttestationResults:
		default:
			return fmt.Errorf("%w: %w", ErrMalformed, errors.New("a message that is neither Evidence nor an Attestation Result"))
		}
	}
	return nil
}
