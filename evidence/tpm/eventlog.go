package tpm

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// eventLog is a log in the crypto-agile form of the TCG PC Client Platform Firmware
// Profile, Section 10.2.2. Integers in it are little-endian.
type eventLog struct {
	events   []event
	locality byte // of the startup of the TPM, which PCR 0 begins with
}

// event is one extension of a PCR.
type event struct {
	pcr     int
	typ     eventType
	digests map[crypto.Hash][]byte
	digest  []byte // of the bank that was asked for
}

// Limits on a log, besides its size.
const (
	maxEvents  = 4096
	maxDigests = 8 // banks
)

// eventType says what was measured.
type eventType uint32

const (
	evNoAction          eventType = 3
	specIDSignature               = "Spec ID Event03\x00"
	startupLocalitySign           = "StartupLocality\x00"
)

// eventNames are the types that firmware of today writes.
var eventNames = map[eventType]string{
	0x0: "EV_PREBOOT_CERT", 0x1: "EV_POST_CODE", 0x3: "EV_NO_ACTION", 0x4: "EV_SEPARATOR", 0x5: "EV_ACTION",
	0x6: "EV_EVENT_TAG", 0x7: "EV_S_CRTM_CONTENTS", 0x8: "EV_S_CRTM_VERSION", 0x9: "EV_CPU_MICROCODE",
	0xa: "EV_PLATFORM_CONFIG_FLAGS", 0xb: "EV_TABLE_OF_DEVICES", 0xc: "EV_COMPACT_HASH", 0xd: "EV_IPL",
	0x11: "EV_NONHOST_CODE", 0x12: "EV_NONHOST_CONFIG", 0x13: "EV_NONHOST_INFO", 0x14: "EV_OMIT_BOOT_DEVICE_EVENTS",
	0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG", 0x80000002: "EV_EFI_VARIABLE_BOOT",
	0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION", 0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
	0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER", 0x80000006: "EV_EFI_GPT_EVENT", 0x80000007: "EV_EFI_ACTION",
	0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB", 0x80000009: "EV_EFI_HANDOFF_TABLES",
	0x8000000a: "EV_EFI_PLATFORM_FIRMWARE_BLOB2", 0x8000000b: "EV_EFI_HANDOFF_TABLES2",
	0x8000000c: "EV_EFI_VARIABLE_BOOT2", 0x80000010: "EV_EFI_HCRTM_EVENT", 0x800000e0: "EV_EFI_VARIABLE_AUTHORITY",
	0x800000e1: "EV_EFI_SPDM_FIRMWARE_BLOB", 0x800000e2: "EV_EFI_SPDM_FIRMWARE_CONFIG",
}

func (t eventType) String() string {
	if name, ok := eventNames[t]; ok {
		return name
	}
	return fmt.Sprintf("0x%08x", uint32(t))
}

var errLog = errors.New("not an event log in the crypto-agile form of the TCG")

// logReader reads little-endian fields; after the first failure it gives zeros.
type logReader struct {
	rest   []byte
	failed bool
}

func (r *logReader) bytes(n uint32) []byte {
	if r.failed || uint64(n) > uint64(len(r.rest)) {
		r.failed = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *logReader) uint8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *logReader) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *logReader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// parseEventLog reads a log; an empty one is none.
func parseEventLog(b []byte) (*eventLog, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := &logReader{rest: b}
	sizes, ok := r.header()
	if !ok {
		return nil, errLog
	}
	l := new(eventLog)
	for len(r.rest) > 0 {
		if len(l.events) == maxEvents {
			return nil, fmt.Errorf("more than %d events", maxEvents)
		}
		e, data, ok := r.event(sizes)
		if !ok {
			return nil, errLog
		}
		if e.typ == evNoAction { // informs, and is not extended
			if locality, found := bytes.CutPrefix(data, []byte(startupLocalitySign)); found && len(locality) == 1 {
				l.locality = locality[0]
			}
			continue
		}
		l.events = append(l.events, e)
	}
	return l, nil
}

// header reads the first event, which is in the old form and lists the algorithms
// (TCG_EfiSpecIdEvent), with the sizes of their digests.
func (r *logReader) header() (map[tpm2.TPMAlgID]uint32, bool) {
	pcr, typ := r.uint32(), eventType(r.uint32())
	r.bytes(20) // a SHA-1 digest of zeros
	id := &logReader{rest: r.bytes(r.uint32())}
	signature := id.bytes(uint32(len(specIDSignature)))
	id.bytes(4 + 4) // platform class, versions, size of UINTN
	count := id.uint32()
	if r.failed || id.failed || pcr != 0 || typ != evNoAction || string(signature) != specIDSignature ||
		count == 0 || count > maxDigests {
		return nil, false
	}
	sizes := make(map[tpm2.TPMAlgID]uint32, count)
	for range count {
		alg, size := tpm2.TPMAlgID(id.uint16()), id.uint16()
		if h, known := hashes[alg]; known && int(size) != h.Size() {
			return nil, false
		}
		if _, twice := sizes[alg]; twice || size == 0 {
			return nil, false
		}
		sizes[alg] = uint32(size)
	}
	id.bytes(uint32(id.uint8())) // vendor information
	return sizes, !id.failed && len(id.rest) == 0
}

// event reads a TCG_PCR_EVENT2.
func (r *logReader) event(sizes map[tpm2.TPMAlgID]uint32) (e event, data []byte, ok bool) {
	pcr := r.uint32()
	e = event{pcr: int(pcr), typ: eventType(r.uint32()), digests: make(map[crypto.Hash][]byte)}
	count := r.uint32()
	if count > maxDigests {
		return e, nil, false
	}
	for range count {
		alg := tpm2.TPMAlgID(r.uint16())
		size, known := sizes[alg]
		if !known {
			return e, nil, false
		}
		digest := r.bytes(size)
		if h := hashes[alg]; h != 0 {
			if e.digests[h] != nil {
				return e, nil, false
			}
			e.digests[h] = digest
		}
	}
	data = r.bytes(r.uint32())
	// PCR -1 marks events that concern no PCR.
	return e, data, !r.failed && (pcr < pcrCount || e.typ == evNoAction)
}

// maxLogPCR is the last PCR that begins with zeros and is never reset.
const maxLogPCR = 15

// replay computes a PCR from the log and returns its events if that is the quoted
// value; the error is ErrEventLog otherwise.
func (p *parsedReport) replay(pcr int) ([]event, error) {
	i := slices.Index(p.quote.pcrs, pcr)
	switch {
	case pcr < 0 || pcr > maxLogPCR:
		return nil, fmt.Errorf("%w: PCR %d cannot be replayed", ErrEventLog, pcr)
	case p.log == nil:
		return nil, fmt.Errorf("%w: there is none", ErrEventLog)
	case i < 0:
		return nil, fmt.Errorf("%w: PCR %d is not quoted", ErrEventLog, pcr)
	}
	bank := p.quote.bank
	value := make([]byte, bank.Size())
	if pcr == 0 {
		value[len(value)-1] = p.log.locality
	}
	var events []event
	for _, e := range p.log.events {
		if e.pcr != pcr {
			continue
		}
		if e.digest = e.digests[bank]; e.digest == nil {
			return nil, fmt.Errorf("%w: an event of PCR %d has no digest of this bank", ErrEventLog, pcr)
		}
		d := bank.New()
		d.Write(value)
		d.Write(e.digest)
		value = d.Sum(nil)
		events = append(events, e)
	}
	if !bytes.Equal(value, p.PCRs[i]) {
		return nil, fmt.Errorf("%w: PCR %d differs", ErrEventLog, pcr)
	}
	return events, nil
}
