package tpm

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"
)

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, err := Open(ctx, Options{})
	require.ErrorIs(t, err, ErrOptions)
	_, err = Open(ctx, Options{Open: Device("/dev/null"), CommandTimeout: -1})
	require.ErrorIs(t, err, ErrOptions)
	_, err = Open(ctx, Options{Open: Device("/nonexistent")})
	require.ErrorIs(t, err, ErrGone)
	_, err = Open(ctx, Options{Open: Device("/dev/null")})
	require.ErrorIs(t, err, ErrGone)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	for _, bad := range []string{"", "unix:", "device", "http://localhost", "udp:127.0.0.1:1"} {
		_, err = Address(bad)
		require.ErrorIs(t, err, ErrOptions, bad)
	}
	for _, good := range []string{"device:/dev/tpmrm0", "unix:/run/swtpm", "tcp:127.0.0.1:1"} {
		_, err = Address(good)
		require.NoError(t, err)
	}
}

// fake is a TPM that gives canned answers.
type fake struct {
	net.Conn
	answer  func(command []byte) []byte
	pending []byte
	sent    int
}

func (f *fake) Write(b []byte) (int, error) {
	f.sent++
	f.pending = f.answer(b)
	return len(b), nil
}

func (f *fake) Read(b []byte) (int, error) {
	if len(f.pending) == 0 {
		return 0, io.EOF
	}
	n := copy(b, f.pending[:1]) // in the smallest pieces
	f.pending = f.pending[n:]
	return n, nil
}

func (f *fake) Close() error                { return nil }
func (f *fake) SetDeadline(time.Time) error { return nil }

func response(size int, rc tpm2.TPMRC) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x8001)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	return binary.BigEndian.AppendUint32(b, uint32(rc))
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		response []byte
		ok       bool
	}{
		"smallest":     {response(10, 0), true},
		"whole":        {append(response(12, 0), 1, 2), true},
		"empty":        {nil, false},
		"short":        {response(12, 0), false},
		"no header":    {response(10, 0)[:9], false},
		"size 9":       {response(9, 0), false},
		"size too big": {response(maxMessage+1, 0), false},
		"largest":      {append(response(maxMessage, 0), make([]byte, maxMessage-10)...), true},
	} {
		got, err := roundTrip(&fake{answer: func([]byte) []byte { return c.response }}, time.Second, []byte{1})
		require.Equal(t, c.ok, err == nil, name)
		if c.ok {
			require.Equal(t, c.response, got, name)
		}
	}
	_, err := readResponse(&fake{pending: append(response(10, 0), 7)})
	require.NoError(t, err, "one byte at a time, nothing is read beyond the response")
}

// TestRetry: a TPM that is busy is asked again, and not for ever.
func TestRetry(t *testing.T) {
	t.Parallel()
	busy := 3
	f := &fake{}
	f.answer = func([]byte) []byte {
		if f.sent <= busy {
			return response(10, tpm2.TPMRCRetry)
		}
		return response(10, 0)
	}
	got, err := roundTrip(f, time.Second, []byte{1})
	require.NoError(t, err)
	require.Equal(t, response(10, 0), got)
	require.Equal(t, 4, f.sent)
}

func TestClose(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	require.NoError(t, d.tpm.Close())
	require.NoError(t, d.tpm.Close())
	_, err := d.key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, ErrClosed)
	// Nothing of ours is left in the slots.
	again := d.emulator.open(t)
	require.Empty(t, handles(t, again, tpm2.TPMHTTransient))
}

// handles lists what a TPM holds.
func handles(t testing.TB, tpm *TPM, kind tpm2.TPMHT) []tpm2.TPMHandle {
	t.Helper()
	list, err := run(context.Background(), tpm, func(s *session) ([]tpm2.TPMHandle, error) {
		r, err := tpm2.GetCapability{
			Capability: tpm2.TPMCapHandles, Property: uint32(kind) << 24, PropertyCount: 64,
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		l, err := r.CapabilityData.Data.Handles()
		if err != nil {
			return nil, err
		}
		return l.Handle, nil
	})
	require.NoError(t, err)
	return list
}

// TestSlots: keys take turns in the few slots of a TPM.
func TestSlots(t *testing.T) {
	t.Parallel()
	tpm := newEmulator(t).open(t)
	var keys []*Key
	for range 5 {
		k, err := tpm.CreateKey(t.Context(), KeyOptions{})
		require.NoError(t, err)
		keys = append(keys, k)
	}
	var wg sync.WaitGroup
	for range 3 {
		for _, k := range keys {
			wg.Go(func() {
				_, err := k.Sign(nil, make([]byte, 32), crypto.SHA256)
				require.NoError(t, err)
			})
		}
	}
	wg.Wait()
	require.LessOrEqual(t, len(handles(t, tpm, tpm2.TPMHTTransient)), maxLoaded)
}

// TestReclaim: slots that a broken transport left full are used again, and what
// belongs to others stays.
func TestReclaim(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	d.attest(t)
	_, err := run(t.Context(), d.tpm, func(s *session) (any, error) {
		s.t.disconnect() // two keys stay in the TPM
		return nil, nil
	})
	require.NoError(t, err)
	d.attest(t)
	require.Len(t, handles(t, d.tpm, tpm2.TPMHTTransient), 2)

	// A key of somebody else in the third slot stays, though ours then take turns.
	theirs, err := run(t.Context(), d.tpm, func(s *session) (*tpm2.CreatePrimaryResponse, error) {
		return tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.RSASRKTemplate)}.Execute(s)
	})
	require.NoError(t, err)
	require.Contains(t, handles(t, d.tpm, tpm2.TPMHTTransient), theirs.ObjectHandle)
	_, err = d.tpm.CreateKey(t.Context(), KeyOptions{})
	require.NoError(t, err)
	require.Contains(t, handles(t, d.tpm, tpm2.TPMHTTransient), theirs.ObjectHandle)
}

func TestSign(t *testing.T) {
	t.Parallel()
	tpm := newEmulator(t).open(t)
	ec, err := tpm.CreateKey(t.Context(), KeyOptions{Algorithm: ECDSAP384})
	require.NoError(t, err)
	rsaKey, err := tpm.CreateKey(t.Context(), KeyOptions{Algorithm: RSA2048})
	require.NoError(t, err)
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, h.Size()} {
			opts := &rsa.PSSOptions{Hash: h, SaltLength: salt}
			sig, err := rsaKey.Sign(nil, make([]byte, h.Size()), opts)
			require.NoError(t, err)
			require.NoError(t, rsa.VerifyPSS(rsaKey.Public().(*rsa.PublicKey), h, make([]byte, h.Size()), sig, opts))
		}
	}
	for name, c := range map[string]struct {
		key    *Key
		digest int
		opts   crypto.SignerOpts
	}{
		"other hash":       {ec, 32, crypto.SHA256},
		"short digest":     {ec, 47, crypto.SHA384},
		"no hash":          {ec, 48, crypto.Hash(0)},
		"SHA-1":            {rsaKey, 20, crypto.SHA1},
		"PKCS #1 v1.5":     {rsaKey, 32, crypto.SHA256},
		"salt of 20":       {rsaKey, 32, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 20}},
		"salt of any size": {rsaKey, 32, &rsa.PSSOptions{Hash: crypto.SHA256}},
	} {
		_, err := c.key.Sign(nil, make([]byte, c.digest), c.opts)
		require.ErrorIs(t, err, ErrOptions, name)
	}
}
