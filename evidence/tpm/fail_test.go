package tpm

import (
	"context"
	"crypto"
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
