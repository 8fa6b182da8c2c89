package tpm

import (
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/crypto/cryptobyte"
)

// statement is a TPMS_ATTEST: what the TPM says and the attestation key signs.
type statement struct {
	typ       tpm2.TPMST
	signer    []byte // qualified Name of the attestation key
	extraData []byte
	clock     uint64 // milliseconds
	resets    uint32
	restarts  uint32
	safe      bool // the clock never showed a later time
	firmware  uint64

	name []byte // TPM_ST_ATTEST_CERTIFY: Name of the certified object

	bank      crypto.Hash // TPM_ST_ATTEST_QUOTE, and the next two
	pcrs      []int       // ascending
	pcrDigest []byte
}

// pcrCount is the number of PCRs of a PC Client TPM.
const pcrCount = 24

var errStatement = errors.New("not a TPMS_ATTEST of a certification or a quote of one PCR bank")

// parseStatement reads a TPMS_ATTEST. The error wraps [ErrMagic] where that is
// wrong.
func parseStatement(b []byte) (*statement, error) {
	if len(b) > maxStructure {
		return nil, errStatement
	}
	s := cryptobyte.String(b)
	var magic uint32
	if !s.ReadUint32(&magic) {
		return nil, errStatement
	}
	if tpm2.TPMGenerated(magic) != tpm2.TPMGeneratedValue {
		return nil, ErrMagic
	}
	a := new(statement)
	var typ uint16
	var safe uint8
	var signer, extraData cryptobyte.String
	if !s.ReadUint16(&typ) ||
		!s.ReadUint16LengthPrefixed(&signer) || !s.ReadUint16LengthPrefixed(&extraData) ||
		!s.ReadUint64(&a.clock) || !s.ReadUint32(&a.resets) || !s.ReadUint32(&a.restarts) ||
		!s.ReadUint8(&safe) || safe > 1 ||
		!s.ReadUint64(&a.firmware) {
		return nil, errStatement
	}
	a.typ, a.signer, a.extraData, a.safe = tpm2.TPMST(typ), signer, extraData, safe == 1
	ok := false
	switch a.typ {
	case tpm2.TPMSTAttestCertify:
		var name, qualified cryptobyte.String
		ok = s.ReadUint16LengthPrefixed(&name) && s.ReadUint16LengthPrefixed(&qualified)
		a.name = name
	case tpm2.TPMSTAttestQuote:
		ok = a.readQuote(&s)
	}
	if !ok || !s.Empty() {
		return nil, errStatement
	}
	return a, nil
}

// readQuote reads a TPMS_QUOTE_INFO that selects PCRs of one bank.
func (a *statement) readQuote(s *cryptobyte.String) bool {
	var count uint32
	var selection, digest cryptobyte.String
	if !s.ReadUint32(&count) || count != 1 || !readHash(s, &a.bank) ||
		!s.ReadUint8LengthPrefixed(&selection) || len(selection) != pcrCount/8 ||
		!s.ReadUint16LengthPrefixed(&digest) {
		return false
	}
	for i := range pcrCount {
		if selection[i/8]&(1<<(i%8)) != 0 {
			a.pcrs = append(a.pcrs, i)
		}
	}
	a.pcrDigest = digest
	return len(a.pcrs) > 0
}

// firmwareVersion is the version in dotted form, in four parts of 16 bits: most
// vendors show it so.
func (a *statement) firmwareVersion() string {
	return fmt.Sprintf("%d.%d.%d.%d", uint16(a.firmware>>48), uint16(a.firmware>>32), uint16(a.firmware>>16), uint16(a.firmware))
}

// signerName is the qualified Name of a key under a primary of the endorsement
// hierarchy (Part 1, Qualified Name): the TPM itself puts it into what it signs. It is nil
// if parent is no Name.
func signerName(parent, name []byte) []byte {
	var primary, own crypto.Hash
	p, n := cryptobyte.String(parent), cryptobyte.String(name)
	if !readHash(&p, &primary) || len(p) != primary.Size() || !readHash(&n, &own) {
		return nil
	}
	hierarchy := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHEndorsement))
	return nameOf(own, nameOf(primary, hierarchy, parent), name)
}
