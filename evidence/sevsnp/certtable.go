package sevsnp

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
)

// entrySize is the size in bytes of an entry of the certificate table: GUID,
// offset, length (AMD 56421, GHCB Specification, MSG_REPORT_REQ).
const entrySize = 24

// maxTable is the largest table that is read, in bytes, and maxEntries the number
// of its entries.
const (
	maxTable   = 64 << 10
	maxEntries = 32
)

// guids of the certificates, as the specification writes them.
var (
	guidVCEK = uuid.MustParse("63da758d-e664-4564-adc5-f4b93be8accd")
	guidVLEK = uuid.MustParse("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
	guidASK  = uuid.MustParse("4ab7b379-bbac-4fe4-a02f-05aef327c782")
	guidARK  = uuid.MustParse("c0b406a4-a803-4952-9743-3fb6014cd0ae")
)

// parseTable reads the certificate table that the host gives a guest. The host is
// not trusted, and go-sev-guest's parser takes memory by its 32-bit sums.
func parseTable(table []byte) (map[uuid.UUID][]byte, error) {
	out := make(map[uuid.UUID][]byte)
	if len(table) == 0 {
		return out, nil
	}
	if len(table) > maxTable {
		return nil, fmt.Errorf("%w: the table has more than %d bytes", ErrCertificates, maxTable)
	}
	for i := range maxEntries {
		if len(table) < (i+1)*entrySize {
			return nil, fmt.Errorf("%w: the table does not end", ErrCertificates)
		}
		entry := table[i*entrySize : (i+1)*entrySize]
		if bytes.Equal(entry, make([]byte, entrySize)) {
			return out, nil
		}
		offset := uint64(binary.LittleEndian.Uint32(entry[16:]))
		length := uint64(binary.LittleEndian.Uint32(entry[20:]))
		if offset+length > uint64(len(table)) {
			return nil, fmt.Errorf("%w: entry %d is outside the table", ErrCertificates, i)
		}
		guid := uuid.UUID(entry[:16])
		if _, twice := out[guid]; twice {
			return nil, fmt.Errorf("%w: entry %d is there twice", ErrCertificates, i)
		}
		out[guid] = table[offset : offset+length]
	}
	return nil, fmt.Errorf("%w: the table has more than %d entries", ErrCertificates, maxEntries)
}

// fromTable picks the certificates that belong to a report: that of the key that
// signed it, then those above. Nil if the former is not there.
func fromTable(table []byte, p *parsed) ([][]byte, error) {
	entries, err := parseTable(table)
	if err != nil {
		return nil, err
	}
	leaf := entries[guidVCEK]
	if p.signer.SigningKey == signers["SEV-VLEK"] {
		leaf = entries[guidVLEK]
	}
	if len(leaf) == 0 {
		return nil, nil
	}
	var out [][]byte
	for _, der := range [][]byte{leaf, entries[guidASK], entries[guidARK]} {
		if len(der) > 0 {
			out = append(out, der)
		}
	}
	if _, err := parseCertificates(out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificates, err)
	}
	return out, nil
}

// forReport picks certificates of a list for a report, as fromTable does.
func forReport(list []*x509.Certificate, p *parsed) [][]byte {
	s := store{endorsements: make(map[endorsementKey]*x509.Certificate)}
	for _, c := range list {
		_ = s.add(c) // NewAttester has tried
	}
	leaf, ok := s.find(p)
	if !ok {
		return nil
	}
	out := [][]byte{leaf.Raw}
	for _, ask := range issuers(leaf, s.authorities) {
		out = append(out, ask.Raw)
		for _, ark := range issuers(ask, s.authorities) {
			out = append(out, ark.Raw)
		}
	}
	return out[:min(len(out), maxCertificates)]
}
