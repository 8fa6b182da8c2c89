package tpm

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// logEvent is one event of a log under construction.
type logEvent struct {
	pcr  uint32
	typ  eventType
	data []byte
}

func (e logEvent) digest() []byte {
	sum := sha256.Sum256(e.data)
	return sum[:]
}

// logOf is a log with the bank of SHA-256, or with another algorithm beside it.
type logOf struct {
	algorithms [][2]uint16 // identifier and size
	events     []logEvent
}

func testLog() logOf {
	return logOf{algorithms: [][2]uint16{{0x0b, 32}}, events: []logEvent{
		{0, evNoAction, []byte(startupLocalitySign + "\x00")},
		{0, 0x8, []byte("firmware 1.0")},
		{4, 0x4, make([]byte, 4)},
		{4, 0x80000003, []byte("boot loader")},
		{0xffffffff, evNoAction, []byte("note")},
		{7, 0x80000001, []byte("SecureBoot")},
	}}
}

func (l logOf) encode() []byte {
	le := binary.LittleEndian
	id := append([]byte(specIDSignature), 0, 0, 0, 0, 0, 2, 0, 2)
	id = le.AppendUint32(id, uint32(len(l.algorithms)))
	for _, a := range l.algorithms {
		id = le.AppendUint16(le.AppendUint16(id, a[0]), a[1])
	}
	id = append(id, 1, 0xaa) // vendor information
	b := append(le.AppendUint32(le.AppendUint32(nil, 0), uint32(evNoAction)), make([]byte, 20)...)
	b = append(le.AppendUint32(b, uint32(len(id))), id...)
	for _, e := range l.events {
		b = le.AppendUint32(le.AppendUint32(b, e.pcr), uint32(e.typ))
		b = le.AppendUint32(b, uint32(len(l.algorithms)))
		for _, a := range l.algorithms {
			b = le.AppendUint16(b, a[0])
			digest := make([]byte, a[1])
			if a[0] == 0x0b {
				copy(digest, e.digest())
			}
			b = append(b, digest...)
		}
		b = append(le.AppendUint32(b, uint32(len(e.data))), e.data...)
	}
	return b
}

// extend has a TPM measure what the log says.
func extend(t testing.TB, tpm *TPM, l logOf) {
	t.Helper()
	for _, e := range l.events {
		if e.typ == evNoAction {
			continue
		}
		_, err := run(t.Context(), tpm, func(s *session) (*tpm2.PCRExtendResponse, error) {
			return tpm2.PCRExtend{
				PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(e.pcr), Auth: tpm2.PasswordAuth(nil)},
				Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: e.digest()}}},
			}.Execute(s)
		})
		require.NoError(t, err)
	}
}

// replayed is the value that PCRs get from a log.
func (l logOf) replayed(pcr uint32, locality byte) []byte {
	value := make([]byte, 32)
	if pcr == 0 {
		value[31] = locality
	}
	for _, e := range l.events {
		if e.pcr == pcr && e.typ != evNoAction {
			sum := sha256.Sum256(append(value, e.digest()...))
			value = sum[:]
		}
	}
	return value
}

func TestEventLog(t *testing.T) {
	t.Parallel()
	sha384 := [2]uint16{0x0c, 48}
	for name, c := range map[string]struct {
		change  func(*forger, *logOf)
		fromLog []int
		want    error
	}{
		"good":        {func(*forger, *logOf) {}, []int{0, 4}, nil},
		"not asked":   {func(f *forger, _ *logOf) { f.pcrs[0] = make([]byte, 32) }, nil, nil},
		"more banks":  {func(_ *forger, l *logOf) { l.algorithms = append(l.algorithms, sha384, [2]uint16{4, 20}) }, []int{0, 4}, nil},
		"locality 3":  {func(f *forger, l *logOf) { l.events[0].data[16] = 3; f.pcrs[0] = l.replayed(0, 3) }, []int{0}, nil},
		"no log":      {func(_ *forger, l *logOf) { l.algorithms = nil }, []int{0}, ErrEventLog},
		"locality":    {func(_ *forger, l *logOf) { l.events[0].data[16] = 3 }, []int{0}, ErrEventLog},
		"other event": {func(_ *forger, l *logOf) { l.events[3].data = []byte("x") }, []int{4}, ErrEventLog},
		"event gone":  {func(_ *forger, l *logOf) { l.events = l.events[:3] }, []int{4}, ErrEventLog},
		"not quoted":  {func(*forger, *logOf) {}, []int{7}, ErrEventLog},
		"PCR 16":      {func(*forger, *logOf) {}, []int{16}, ErrEventLog},
		"PCR -1":      {func(*forger, *logOf) {}, []int{-1}, ErrEventLog},
		"other bank":  {func(_ *forger, l *logOf) { l.algorithms = [][2]uint16{sha384} }, []int{4}, ErrEventLog},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := newForger(t), testLog()
			f.pcrs = [][]byte{l.replayed(0, 0), l.replayed(4, 0)}
			c.change(f, &l)
			if l.algorithms != nil {
				f.log = l.encode()
			}
			f.state(t)
			claims, err := f.extract(t, c.fromLog...)
			if c.want != nil {
				refused(t, err, evidence.ErrSignature, "event log", c.want)
				return
			}
			require.NoError(t, err)
			events := 0
			for _, m := range claims.Measurements {
				if m.Name == "event:sha256:4:EV_SEPARATOR" || m.Name == "event:sha256:0:EV_S_CRTM_VERSION" {
					events++
				}
			}
			require.Equal(t, len(c.fromLog), events)
		})
	}
	require.Equal(t, "0x00001234", eventType(0x1234).String())
}

// TestEventLogFormat: one change each in the log itself.
func TestEventLogFormat(t *testing.T) {
	t.Parallel()
	good := testLog()
	_, err := parseEventLog(good.encode())
	require.NoError(t, err)
	for i := 1; i < len(good.encode()); i++ {
		l, err := parseEventLog(good.encode()[:i])
		if err == nil { // between two events
			require.Less(t, len(l.events), 4)
		}
	}
	many := good
	for range maxEvents {
		many.events = append(many.events, logEvent{typ: 4})
	}
	for name, l := range map[string]logOf{
		"no algorithm":    {},
		"nine algorithms": {algorithms: [][2]uint16{{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}, {8, 1}, {9, 1}}},
		"algorithm twice": {algorithms: [][2]uint16{{11, 32}, {11, 32}}},
		"wrong size":      {algorithms: [][2]uint16{{11, 20}}},
		"size 0":          {algorithms: [][2]uint16{{5, 0}}},
		"PCR 24":          {algorithms: good.algorithms, events: []logEvent{{24, 4, nil}}},
		"too many events": many,
	} {
		_, err := parseEventLog(l.encode())
		require.Error(t, err, name)
	}
	for name, at := range map[string]int{"PCR": 0, "type": 4, "signature": 32, "vendor size": 32 + 24 + 4 + 4} {
		changed := good.encode()
		changed[at]++
		_, err := parseEventLog(changed)
		require.ErrorIs(t, err, errLog, name)
	}
	events := len(logOf{algorithms: good.algorithms}.encode())
	for name, at := range map[string]int{"digest count": 8, "digest algorithm": 12} {
		changed := good.encode()
		changed[events+at] = 9
		_, err := parseEventLog(changed)
		require.ErrorIs(t, err, errLog, name)
	}
}
