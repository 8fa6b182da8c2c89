package tpm

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
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

// TestRestart: the TPM goes away and comes back, and connections after that succeed.
func TestRestart(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	d.attest(t)
	d.emulator.stop()
	_, err := d.key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, ErrGone)
	_, err = d.key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, ErrGone)
	d.emulator.start(t)
	b, value := d.attest(t)
	claims, err := extract(d.ca, value)
	require.NoError(t, err)
	require.NoError(t, claims.Bound(b))

	d.emulator.stop() // while nobody looks
	d.emulator.start(t)
	_, err = d.key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.NoError(t, err, "an idle transport that broke is opened again at once")
}

// cutter breaks a transport when a command passes that it is told of.
type cutter struct {
	net.Conn
	command *atomic.Uint32
	cut     func()
}

func (c cutter) Write(b []byte) (int, error) {
	if binary.BigEndian.Uint32(b[6:10]) != c.command.Load() {
		return c.Conn.Write(b)
	}
	if n, err := c.Conn.Write(b[:len(b)/2]); err != nil {
		return n, err
	}
	c.cut()
	return c.Conn.Write(b[len(b)/2:])
}

// TestVanishing: the TPM goes away in the middle of each command of an attestation.
func TestVanishing(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	var command atomic.Uint32
	file, err := d.ak.MarshalPEM()
	require.NoError(t, err)
	keyPEM, err := d.key.MarshalPEM()
	require.NoError(t, err)
	require.NoError(t, d.tpm.Close())

	d.tpm, err = Open(t.Context(), Options{Open: func(ctx context.Context) (io.ReadWriteCloser, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", d.emulator.path)
		return cutter{c, &command, d.emulator.stop}, err
	}})
	require.NoError(t, err)
	t.Cleanup(func() { d.tpm.Close() })
	d.ak, err = d.tpm.LoadAK(t.Context(), file, nil)
	require.NoError(t, err)
	d.key, err = d.tpm.LoadKey(t.Context(), keyPEM, nil)
	require.NoError(t, err)
	d.attester = d.newAttester(t)
	for name, code := range map[string]tpm2.TPMCC{
		"quote": tpm2.TPMCCQuote, "certify": tpm2.TPMCCCertify, "PCR read": tpm2.TPMCCPCRRead, "load": tpm2.TPMCCLoad,
	} {
		command.Store(uint32(code))
		_, err := run(t.Context(), d.tpm, func(s *session) (*report, error) {
			s.evict(0)
			return d.attester.collect(s, d.key, make([]byte, 32))
		})
		require.ErrorIs(t, err, ErrGone, name)
		command.Store(0)
		d.emulator.start(t)
		d.collect(t, d.key, make([]byte, 32))
	}
}

// TestCancel: a caller whose context ends returns at once, waiting or not, and the
// TPM serves the next.
func TestCancel(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	cause := errors.New("enough")
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := run(context.Background(), d.tpm, func(*session) (any, error) {
			close(held)
			<-release
			return nil, nil
		})
		require.NoError(t, err)
	})
	<-held
	ctx, cancel := context.WithCancelCause(context.Background())
	wg.Go(func() {
		_, err := d.key.SignContext(ctx, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, cause)
	})
	time.Sleep(10 * time.Millisecond)
	cancel(cause)
	_, err := d.tpm.CreateKey(ctx, KeyOptions{})
	require.ErrorIs(t, err, cause)
	close(release)
	wg.Wait()

	// In the middle of a job: what follows is not sent, and what was made is flushed.
	ctx, cancel = context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	_, err = run(ctx, d.tpm, func(s *session) (any, error) {
		parent, err := s.parent(tpm2.TPMRHOwner)
		require.NoError(t, err)
		defer s.flush(parent.ObjectHandle)
		cancel(cause)
		_, err = s.load(&d.ak.key)
		ended <- err
		return nil, err
	})
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, <-ended, cause)
	require.LessOrEqual(t, len(handles(t, d.tpm, tpm2.TPMHTTransient)), maxLoaded)
	d.attest(t)
}

// TestHung: a TPM that does not answer fails the command at its time limit, and
// holds nobody longer than his context.
func TestHung(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go io.Copy(io.Discard, theirs)
	open := func(context.Context) (io.ReadWriteCloser, error) { return ours, nil }
	_, err := Open(t.Context(), Options{Open: open, CommandTimeout: 20 * time.Millisecond})
	require.ErrorIs(t, err, ErrGone)

	ours, other := net.Pipe()
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Options{Open: open, CommandTimeout: 200 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestLockout: authorization failures lock a TPM, and that has its own name.
func TestLockout(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	key, err := d.tpm.CreateKey(t.Context(), KeyOptions{Auth: []byte("right")})
	require.NoError(t, err)
	_, err = key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.NoError(t, err)
	file, err := key.MarshalPEM()
	require.NoError(t, err)
	wrong, err := d.tpm.LoadKey(t.Context(), file, []byte("wrong"))
	require.NoError(t, err)
	_, err = wrong.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, ErrAuth)
	require.NotErrorIs(t, err, ErrLockout)
	require.Eventually(t, func() bool {
		_, err = wrong.Sign(nil, make([]byte, 32), crypto.SHA256)
		return errors.Is(err, ErrLockout)
	}, 10*time.Second, time.Millisecond)
	_, err = key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, ErrLockout)
	a, err := NewAttester(AttesterOptions{AK: d.ak, Chain: d.chain, Keys: []*Key{key}, PCRs: testPCRs})
	require.NoError(t, err)
	_, err = run(t.Context(), d.tpm, func(s *session) (*report, error) { return a.collect(s, key, make([]byte, 32)) })
	require.ErrorIs(t, err, ErrLockout)
	d.collect(t, d.key, make([]byte, 32)) // keys without a value are not locked
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
