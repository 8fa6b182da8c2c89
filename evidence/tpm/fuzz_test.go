package tpm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// golden parses the golden Evidence, of which every target is seeded.
func golden(f *testing.F) *parsedReport {
	f.Helper()
	p, err := parse(goldenEvidence)
	if err != nil {
		f.Fatal("no seeds:", err)
	}
	return p
}

// add seeds with b, its start, and with one bit changed here and there.
func add(f *testing.F, b []byte) {
	f.Helper()
	f.Add(b)
	for _, i := range []int{0, 1, len(b) / 2, len(b) - 1} {
		f.Add(b[:i])
		changed := bytes.Clone(b)
		changed[i] ^= 0x20
		f.Add(changed)
	}
}

// FuzzExtract: no Evidence is accepted but the golden one, whose event log is not
// under a signature and whose ECDSA signatures have a second form; and every refusal
// says its reason.
func FuzzExtract(f *testing.F) {
	want := golden(f)
	add(f, goldenEvidence)
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, err := extractGolden(t, b, 4)
		u, parsed := ParseUnverified(b)
		require.Equal(t, parsed == nil, u != nil)
		require.True(t, err != nil || parsed == nil, "what Extract takes can be read")
		require.True(t, parsed == nil || errors.Is(parsed, evidence.ErrFormat), "%v", parsed)
		if err == nil {
			p, err := parse(b)
			require.NoError(t, err)
			require.Equal(t, [][]byte{want.AK, want.Parent, want.Key, want.Certify, want.Quote},
				[][]byte{p.AK, p.Parent, p.Key, p.Certify, p.Quote})
			require.Equal(t, want.PCRs, p.PCRs)
			require.Equal(t, want.Chain[0], p.Chain[0])
			return
		}
		require.Nil(t, claims)
		var e *evidence.Error
		require.ErrorAs(t, err, &e)
		require.NotContains(t, err.Error(), "the decoder failed", "a decoder panics")
	})
}

// FuzzStatement: go-tpm reads what we read, and writes the same bytes again.
func FuzzStatement(f *testing.F) {
	p := golden(f)
	add(f, p.Certify)
	add(f, p.Quote)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStatement(b)
		if err != nil {
			require.Nil(t, s)
			return
		}
		a, err := tpm2.Unmarshal[tpm2.TPMSAttest](b)
		require.NoError(t, err)
		require.Equal(t, b, tpm2.Marshal(*a))
		require.True(t, bytes.Equal(s.extraData, a.ExtraData.Buffer))
		require.Equal(t, s.firmware, a.FirmwareVersion)
		if s.typ == tpm2.TPMSTAttestQuote {
			q, err := a.Attested.Quote()
			require.NoError(t, err)
			require.True(t, bytes.Equal(s.pcrDigest, q.PCRDigest.Buffer))
			require.Equal(t, tpm2.PCClientCompatible.PCRs(unsignedInts(s.pcrs)...), q.PCRSelect.PCRSelections[0].PCRSelect)
			return
		}
		c, err := a.Attested.Certify()
		require.NoError(t, err)
		require.True(t, bytes.Equal(s.name, c.Name.Buffer))
	})
}

func unsignedInts(in []int) (out []uint) {
	for _, i := range in {
		out = append(out, uint(i))
	}
	return out
}

// FuzzPublic: go-tpm reads what we read, with the same Name.
func FuzzPublic(f *testing.F) {
	p := golden(f)
	add(f, p.AK)
	add(f, p.Key)
	rsaArea, err := keyTemplate(RSA2048, true)
	require.NoError(f, err)
	n := bytes.Repeat([]byte{0xff}, 256)
	rsaArea.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: n})
	add(f, tpm2.Marshal(rsaArea))
	f.Fuzz(func(t *testing.T, b []byte) {
		area, err := parsePublic(b)
		if err != nil {
			require.Nil(t, area)
			return
		}
		public, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
		require.NoError(t, err)
		require.Equal(t, b, tpm2.Marshal(*public))
		name, err := tpm2.ObjectName(public)
		require.NoError(t, err)
		require.Equal(t, name.Buffer, area.name)
	})
}

// FuzzSignature: go-tpm reads what we read, and no signature but the golden one
// verifies.
func FuzzSignature(f *testing.F) {
	p := golden(f)
	add(f, p.CertifySignature)
	add(f, p.QuoteSignature)
	f.Fuzz(func(t *testing.T, b []byte) {
		sig, err := parseSignature(b)
		if err != nil {
			require.Nil(t, sig)
			return
		}
		s, err := tpm2.Unmarshal[tpm2.TPMTSignature](b)
		require.NoError(t, err)
		require.Equal(t, b, tpm2.Marshal(*s))
		if sig.verify(p.ak, p.Quote) == nil {
			require.Equal(t, bytes.TrimLeft(p.quoteSignature.r, "\x00"), bytes.TrimLeft(sig.r, "\x00"))
		}
	})
}

// FuzzEventLog: a log that is read is within its limits.
func FuzzEventLog(f *testing.F) {
	p := golden(f)
	add(f, p.EventLog)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseEventLog(b)
		if err != nil || len(b) == 0 {
			require.Nil(t, l)
			return
		}
		require.LessOrEqual(t, len(l.events), maxEvents)
		for _, e := range l.events {
			require.Less(t, e.pcr, pcrCount)
			for h, d := range e.digests {
				require.Len(t, d, h.Size())
			}
		}
	})
}

// FuzzKeyFile: a key file that is read is one that we would write.
func FuzzKeyFile(f *testing.F) {
	p := golden(f)
	k, err := newKey(nil, tpm2.TPMRHOwner, nil, p.Key, []byte("private"), nil)
	require.NoError(f, err)
	file, err := k.MarshalPEM()
	require.NoError(f, err)
	add(f, file)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseKeyFile(nil, b, nil)
		if err != nil {
			require.ErrorIs(t, err, ErrKeyFile)
			return
		}
		file, err := k.MarshalPEM()
		require.NoError(t, err)
		again, err := parseKeyFile(nil, file, nil)
		require.NoError(t, err)
		require.Equal(t, k, again)
	})
}
