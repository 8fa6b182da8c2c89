package tpm

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// makeEK gives the TPM a certificate for its endorsement key on P-256, as its maker
// would. change sees what is written.
func makeEK(t testing.TB, tpm *TPM, change func(der []byte) []byte) {
	t.Helper()
	ca := newAuthority(t)
	_, err := run(t.Context(), tpm, func(s *session) (any, error) {
		p, err := tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			InPublic:      tpm2.New2B(tpm2.ECCEKTemplate),
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		s.flush(p.ObjectHandle)
		area, err := p.OutPublic.Contents()
		if err != nil {
			return nil, err
		}
		pub, err := tpm2.Pub(*area)
		if err != nil {
			return nil, err
		}
		cert := ca.issue(t, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "EK"},
			NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter,
		}, pub)
		return nil, writeNV(s, 0x01c0000a, change(cert.Raw))
	})
	require.NoError(t, err)
}

func writeNV(s *session, index tpm2.TPMHandle, data []byte) error {
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	_, _ = tpm2.NVUndefineSpace{AuthHandle: owner, NVIndex: tpm2.NamedHandle{Handle: index, Name: nvName(s, index)}}.Execute(s)
	_, err := tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(data)),
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthWrite: true, AuthRead: true, NoDA: true},
	})}.Execute(s)
	for at := 0; err == nil && at < len(data); at += nvBlock {
		handle := tpm2.NamedHandle{Handle: index, Name: nvName(s, index)}
		_, err = tpm2.NVWrite{
			AuthHandle: authorized(index, handle.Name, nil), NVIndex: handle,
			Data: tpm2.TPM2BMaxNVBuffer{Buffer: data[at:min(at+nvBlock, len(data))]}, Offset: uint16(at),
		}.Execute(s)
	}
	return err
}

func nvName(s *session, index tpm2.TPMHandle) tpm2.TPM2BName {
	r, err := tpm2.NVReadPublic{NVIndex: index}.Execute(s)
	if err != nil {
		return tpm2.TPM2BName{}
	}
	return r.NVName
}

// credential is what a CA sends to the endorsement key on P-256.
func credential(t testing.TB, ek *EK, name, secret []byte) (blob, encrypted []byte) {
	t.Helper()
	c, err := x509.ParseCertificate(ek.Certificate)
	require.NoError(t, err)
	area, err := EKPublicArea(c.PublicKey)
	require.NoError(t, err)
	encapsulation, err := tpm2.ImportEncapsulationKey(area)
	require.NoError(t, err)
	blob, encrypted, err = tpm2.CreateCredential(rand.Reader, encapsulation, name, secret)
	require.NoError(t, err)
	return blob, encrypted
}

func TestActivateCredential(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tpm := newEmulator(t).open(t)
	makeEK(t, tpm, func(der []byte) []byte { return append(der, make([]byte, 100)...) }) // padded
	ek, err := tpm.EndorsementKey(ctx)
	require.NoError(t, err)
	ak, err := tpm.CreateAK(ctx, KeyOptions{})
	require.NoError(t, err)
	blob, encrypted := credential(t, ek, ak.Name(), []byte("secret"))
	got, err := tpm.ActivateCredential(ctx, ek, ak, blob, encrypted)
	require.NoError(t, err)
	require.Equal(t, "secret", string(got))

	// With the endorsement key in its persistent place.
	_, err = run(ctx, tpm, func(s *session) (any, error) {
		h, flush, err := s.loadEK(ek)
		if err != nil {
			return nil, err
		}
		defer flush()
		return tpm2.EvictControl{
			Auth:             tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			ObjectHandle:     tpm2.NamedHandle{Handle: h, Name: tpm2.TPM2BName{Buffer: ek.name}},
			PersistentHandle: ek.place.handle,
		}.Execute(s)
	})
	require.NoError(t, err)
	got, err = tpm.ActivateCredential(ctx, ek, ak, blob, encrypted)
	require.NoError(t, err)
	require.Equal(t, "secret", string(got))

	// Failures leave no session behind: a TPM has three.
	for range 5 {
		_, err = tpm.ActivateCredential(ctx, ek, ak, blob, encrypted[1:])
		require.Error(t, err)
		tpm.options.EndorsementAuth = []byte("wrong")
		_, err = tpm.ActivateCredential(ctx, ek, ak, blob, encrypted)
		require.ErrorIs(t, err, ErrAuth)
		tpm.options.EndorsementAuth = nil
	}
	require.Empty(t, handles(t, tpm, tpm2.TPMHTLoadedSession))
	require.LessOrEqual(t, len(handles(t, tpm, tpm2.TPMHTTransient)), maxLoaded)
}

func TestEndorsementKeyErrors(t *testing.T) {
	t.Parallel()
	tpm := newEmulator(t).open(t)
	_, err := tpm.EndorsementKey(t.Context())
	require.ErrorIs(t, err, ErrNoEK)
	foreign := newAuthority(t)
	notEK := func(pub crypto.PublicKey) func([]byte) []byte {
		return func([]byte) []byte { return foreign.issue(t, foreign.template([]byte{1}), pub).Raw }
	}
	p384 := newForger(t).key
	pub, err := tpm2.Pub(p384)
	require.NoError(t, err)
	for name, change := range map[string]func([]byte) []byte{
		"not DER":         func([]byte) []byte { return make([]byte, 300) },
		"no certificate":  func([]byte) []byte { return []byte{0x30, 0} },
		"of another key":  notEK(softKey(t).Public()),
		"of another kind": notEK(pub),
	} {
		makeEK(t, tpm, change)
		_, err := tpm.EndorsementKey(t.Context())
		require.ErrorIs(t, err, ErrNoEK, name)
	}
}

// TestOrphans: a session that could not be flushed is flushed on the next transport.
func TestOrphans(t *testing.T) {
	t.Parallel()
	tpm := newEmulator(t).open(t)
	_, err := run(t.Context(), tpm, func(s *session) (any, error) {
		_, flush, err := s.endorsementPolicy()
		if err != nil {
			return nil, err
		}
		s.t.disconnect()
		flush()
		return nil, nil
	})
	require.NoError(t, err)
	require.Empty(t, handles(t, tpm, tpm2.TPMHTLoadedSession))
	require.Empty(t, tpm.orphans)
}

// TestCertification: outside a connection the certification is checked in full.
func TestCertification(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP384)
	c, err := d.tpm.Certify(t.Context(), d.ak, d.key, []byte("digest"))
	require.NoError(t, err)
	pub, err := c.Verify(d.ak.PublicArea(), []byte("digest"))
	require.NoError(t, err)
	require.Equal(t, d.key.Public(), pub)
	info, err := CheckAK(d.ak.PublicArea())
	require.NoError(t, err)
	require.Equal(t, &AKInfo{Name: d.ak.Name(), Public: d.ak.Public()}, info)
	_, err = d.tpm.Certify(t.Context(), d.ak, d.key, make([]byte, maxExtraData+1))
	require.ErrorIs(t, err, ErrOptions)
	_, err = d.tpm.Certify(t.Context(), d.ak, d.key, make([]byte, maxExtraData))
	require.NoError(t, err)

	_, err = c.Verify(d.ak.PublicArea(), []byte("other"))
	refused(t, err, evidence.ErrSignature, "certification", evidence.ErrBinder)
	_, err = c.Verify(nil, []byte("digest"))
	refused(t, err, evidence.ErrFormat, "attestation key", nil)
	_, err = c.Verify(d.key.PublicArea(), []byte("digest"))
	refused(t, err, evidence.ErrChain, "attestation key", ErrNotRestricted)
	_, err = CheckAK(d.key.PublicArea())
	refused(t, err, evidence.ErrChain, "attestation key", ErrNotRestricted)
	movable := d.weakKey(t, true, func(a *tpm2.TPMAObject) { a.FixedTPM, a.FixedParent = false, false })
	_, err = CheckAK(movable.public)
	refused(t, err, evidence.ErrChain, "attestation key", ErrAKMovable)
	_, err = CheckAK(nil)
	refused(t, err, evidence.ErrFormat, "attestation key", nil)

	loose := &Key{*d.weakKey(t, false, func(a *tpm2.TPMAObject) { a.FixedTPM, a.FixedParent = false, false })}
	c, err = d.tpm.Certify(t.Context(), d.ak, loose, nil)
	require.NoError(t, err)
	_, err = c.Verify(d.ak.PublicArea(), nil)
	refused(t, err, evidence.ErrChain, "certified key", ErrKeyMovable)
	quote := d.collect(t, d.key, make([]byte, 32))
	_, err = (&Certification{quote.Key, quote.Parent, quote.Quote, quote.QuoteSignature}).Verify(d.ak.PublicArea(), make([]byte, 32))
	refused(t, err, evidence.ErrSignature, "certification", ErrType)
}

// TestEventLogOfAttester: the log goes along, and what cannot be read or is too
// large is an error.
func TestEventLogOfAttester(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	d := newDevice(t, ca, ECDSAP256, ECDSAP256)
	log := testLog()
	extend(t, d.tpm, log)
	content, failure := log.encode(), error(nil)
	d.attester.eventLog = func(context.Context) ([]byte, error) { return content, failure }
	_, value := d.attest(t)
	for _, fromLog := range [][]int{nil, {0, 4, 7}} {
		_, err := Extractor{FromLog: fromLog}.Extract(t.Context(), MediaType, value, ca.roots(), time.Now())
		require.NoError(t, err)
	}
	v := newVerifier(t, testPolicy(t, d))
	content = make([]byte, maxEventLog+1)
	require.ErrorContains(t, judge(t, v, d.id, d.attester), "event log has 49153 bytes")
	content = nil
	require.ErrorContains(t, judge(t, v, d.id, d.attester), "event log has 0 bytes")
	failure = errors.New("unreadable")
	require.ErrorIs(t, judge(t, v, d.id, d.attester), failure)
}

// TestTCP: the same over a TCP socket.
func TestTCP(t *testing.T) {
	t.Parallel()
	e := newEmulator(t)
	e.stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := ln.Addr().String()
	require.NoError(t, ln.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	e.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+e.dir,
		"--server", "type=tcp,bindaddr=127.0.0.1,port="+port, "--flags", "not-need-init,startup-clear")
	require.NoError(t, e.cmd.Start())
	open, err := Address("tcp:" + address)
	require.NoError(t, err)
	var tpm *TPM
	require.Eventually(t, func() bool {
		tpm, err = Open(t.Context(), Options{Open: open})
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
	defer tpm.Close()
	key, err := tpm.CreateKey(t.Context(), KeyOptions{})
	require.NoError(t, err)
	_, err = key.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.NoError(t, err)
}
