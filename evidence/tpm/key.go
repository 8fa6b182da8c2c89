package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// Algorithm is the algorithm of a key.
type Algorithm uint8

// The algorithms. Not every TPM has P-384; [ErrUnsupported] says so.
const (
	ECDSAP256 Algorithm = iota + 1 // with SHA-256
	ECDSAP384                      // with SHA-384; TLS keys only
	RSA2048                        // AK: RSASSA with SHA-256; TLS key: RSA-PSS with any hash
)

func (a Algorithm) String() string {
	switch a {
	case ECDSAP256:
		return "ECDSA P-256"
	case ECDSAP384:
		return "ECDSA P-384"
	case RSA2048:
		return "RSA 2048"
	}
	return fmt.Sprintf("algorithm %d", uint8(a))
}

// key is a signing key that only this TPM can load.
type key struct {
	tpm        *TPM
	hierarchy  tpm2.TPMHandle // of its parent
	parentName []byte
	auth       []byte
	public     []byte // TPMT_PUBLIC
	private    []byte // contents of TPM2B_PRIVATE, encrypted by the TPM
	area       *publicArea
}

// AK is an attestation key: a restricted key under the endorsement hierarchy, which
// signs only what the TPM itself states. It is safe for concurrent use.
type AK struct{ key }

// Key is a TLS key that was born in the TPM. It is a [crypto.Signer], safe for
// concurrent use.
type Key struct{ key }

var _ crypto.Signer = (*Key)(nil)

// KeyOptions describe a new key.
type KeyOptions struct {
	Algorithm Algorithm // zero: [ECDSAP256]
	// Auth is the authorization value of the key. Nil: whoever can talk to the
	// TPM and has the key file can use the key. With a value, failures count
	// towards the TPM's lockout.
	Auth []byte
}

// CreateAK makes an attestation key. Every call makes another one: keep it with
// [AK.MarshalPEM].
func (t *TPM) CreateAK(ctx context.Context, o KeyOptions) (*AK, error) {
	k, err := t.create(ctx, o, tpm2.TPMRHEndorsement, true)
	if err != nil {
		return nil, fmt.Errorf("tpm: create attestation key: %w", err)
	}
	return &AK{*k}, nil
}

// CreateKey makes a TLS key in the TPM, under the owner hierarchy: TPM2_Clear ends
// it. Keep it with [Key.MarshalPEM]. For RSA the error is [ErrUnsupported] where the
// TPM's salts have another length than TLS 1.3 demands.
func (t *TPM) CreateKey(ctx context.Context, o KeyOptions) (*Key, error) {
	k, err := t.create(ctx, o, tpm2.TPMRHOwner, false)
	if err != nil {
		return nil, fmt.Errorf("tpm: create TLS key: %w", err)
	}
	made := &Key{*k}
	if err := made.selfTest(ctx); err != nil {
		return nil, fmt.Errorf("tpm: create TLS key: %w", err)
	}
	return made, nil
}

func (t *TPM) create(ctx context.Context, o KeyOptions, hierarchy tpm2.TPMHandle, restricted bool) (*key, error) {
	if o.Algorithm == 0 {
		o.Algorithm = ECDSAP256
	}
	template, err := keyTemplate(o.Algorithm, restricted)
	if err != nil {
		return nil, err
	}
	template.ObjectAttributes.NoDA = len(o.Auth) == 0
	auth := bytes.Clone(o.Auth)
	return run(ctx, t, func(s *session) (*key, error) {
		s.evict(0) // the TPM needs a slot for the new key too
		parent, err := s.parent(hierarchy)
		if err != nil {
			return nil, err
		}
		defer s.flush(parent.ObjectHandle)
		made, err := tpm2.Create{
			ParentHandle: authorized(parent.ObjectHandle, parent.Name, nil),
			InPublic:     tpm2.New2B(template),
			InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
				UserAuth: tpm2.TPM2BAuth{Buffer: auth},
			}},
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		return newKey(t, hierarchy, auth, made.OutPublic.Bytes(), made.OutPrivate.Buffer, parent.Name.Buffer)
	})
}

// newKey puts a key together from its parts, which it checks.
func newKey(t *TPM, hierarchy tpm2.TPMHandle, auth, public, private, parentName []byte) (*key, error) {
	area, err := parsePublic(public)
	if err != nil {
		return nil, err
	}
	return &key{
		tpm: t, hierarchy: hierarchy, parentName: parentName, auth: auth,
		public: bytes.Clone(public), private: bytes.Clone(private), area: area,
	}, nil
}

// Public is the public key, an *ecdsa.PublicKey or *rsa.PublicKey.
func (k *key) Public() crypto.PublicKey { return k.area.key }

// PublicArea is the key's TPMT_PUBLIC, as the TPM encodes it.
func (k *key) PublicArea() []byte { return bytes.Clone(k.public) }

// Name is the key's Name (TPM 2.0 Library, Part 1, Names).
func (k *key) Name() []byte { return bytes.Clone(k.area.name) }

func keyTemplate(a Algorithm, restricted bool) (tpm2.TPMTPublic, error) {
	p := tpm2.TPMTPublic{
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, SignEncrypt: true, Restricted: restricted,
		},
	}
	switch {
	case a == ECDSAP256:
		eccTemplate(&p, tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256)
	case a == ECDSAP384 && !restricted:
		eccTemplate(&p, tpm2.TPMECCNistP384, tpm2.TPMAlgSHA384)
	case a == RSA2048:
		rsaTemplate(&p, restricted)
	default:
		return p, fmt.Errorf("%w: no such key with %v", ErrOptions, a)
	}
	return p, nil
}

func eccTemplate(p *tpm2.TPMTPublic, curve tpm2.TPMECCCurve, hash tpm2.TPMAlgID) {
	p.Type = tpm2.TPMAlgECC
	p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
		Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
		Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash})},
		CurveID: curve,
		KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
	})
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
}

// rsaTemplate leaves the scheme of a TLS key open, because a peer can ask for any
// of three hashes.
func rsaTemplate(p *tpm2.TPMTPublic, restricted bool) {
	p.Type = tpm2.TPMAlgRSA
	scheme := tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgNull}
	if restricted {
		scheme = tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgRSASSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256})}
	}
	p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
		Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
		Scheme:    scheme,
		KeyBits:   2048,
	})
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
}

// selfTest signs and verifies once what TLS 1.3 will want. Only RSA can fail: some
// TPMs make the salt of RSA-PSS as long as fits.
func (k *Key) selfTest(ctx context.Context) error {
	pub, ok := k.Public().(*rsa.PublicKey)
	if !ok {
		return nil
	}
	digest := make([]byte, crypto.SHA256.Size())
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	sig, err := k.SignContext(ctx, digest, opts)
	if err != nil {
		return err
	}
	if rsa.VerifyPSS(pub, opts.Hash, digest, sig, opts) != nil {
		return fmt.Errorf("%w: its RSA-PSS salts are not those of TLS 1.3; use ECDSA", ErrUnsupported)
	}
	return nil
}

func authorized(h tpm2.TPMHandle, name tpm2.TPM2BName, auth []byte) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: h, Name: name, Auth: tpm2.PasswordAuth(auth)}
}

// parent makes the storage key of a hierarchy. It is always the same one, so that
// it needs no place in the TPM; the caller flushes it.
func (s *session) parent(hierarchy tpm2.TPMHandle) (*tpm2.CreatePrimaryResponse, error) {
	auth := s.t.options.OwnerAuth
	if hierarchy == tpm2.TPMRHEndorsement {
		auth = s.t.options.EndorsementAuth
	}
	p, err := roomFor(s, func() (*tpm2.CreatePrimaryResponse, error) {
		return tpm2.CreatePrimary{
			PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(auth)},
			InPublic:      tpm2.New2B(tpm2.ECCSRKTemplate),
		}.Execute(s)
	})
	if err != nil {
		return nil, fmt.Errorf("storage key: %w", err)
	}
	s.t.ours[string(p.Name.Buffer)] = true
	return p, nil
}

// load brings a key into a slot of the TPM, unless it is in one.
func (s *session) load(k *key) (tpm2.AuthHandle, error) {
	t := s.t
	for i, l := range t.loaded {
		if bytes.Equal(l.key.area.name, k.area.name) {
			t.loaded = append(append(t.loaded[:i:i], t.loaded[i+1:]...), l)
			if k.parentName == nil { // the same key from another file
				k.parentName = l.key.parentName
			}
			return authorized(l.handle, tpm2.TPM2BName{Buffer: k.area.name}, k.auth), nil
		}
	}
	s.evict(maxLoaded - 1)
	t.ours[string(k.area.name)] = true
	parent, err := s.parent(k.hierarchy)
	if err != nil {
		return tpm2.AuthHandle{}, err
	}
	defer s.flush(parent.ObjectHandle)
	r, err := roomFor(s, func() (*tpm2.LoadResponse, error) {
		return tpm2.Load{
			ParentHandle: authorized(parent.ObjectHandle, parent.Name, nil),
			InPrivate:    tpm2.TPM2BPrivate{Buffer: k.private},
			InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](k.public),
		}.Execute(s)
	}, parent.ObjectHandle)
	if errors.Is(err, tpm2.TPMRCIntegrity) {
		return tpm2.AuthHandle{}, fmt.Errorf("%w: it is of another TPM, or the TPM was cleared", ErrKeyFile)
	}
	if err != nil {
		return tpm2.AuthHandle{}, fmt.Errorf("load key: %w", err)
	}
	k.parentName = parent.Name.Buffer
	t.loaded = append(t.loaded, loadedKey{k, r.ObjectHandle})
	return authorized(r.ObjectHandle, r.Name, k.auth), nil
}

// evict takes keys out of their slots, the least recently used first, until no more
// than n are left.
func (s *session) evict(n int) {
	for len(s.t.loaded) > n {
		first := s.t.loaded[0]
		s.t.loaded = s.t.loaded[1:]
		s.flush(first.handle) // forgets all where the TPM went away
	}
}

// roomFor runs a command that needs a slot, and once more after making room where
// the TPM has none. It keeps the objects that the command uses.
func roomFor[T any](s *session, command func() (T, error), keep ...tpm2.TPMHandle) (T, error) {
	v, err := command()
	if errors.Is(err, tpm2.TPMRCObjectMemory) {
		s.reclaim(keep)
		v, err = command()
	}
	return v, err
}

// reclaim takes out of the TPM's slots what is ours there and lost: objects that a
// broken transport or a killed process left behind. Objects of others stay.
func (s *session) reclaim(keep []tpm2.TPMHandle) {
	for _, l := range s.t.loaded {
		keep = append(keep, l.handle)
	}
	r, err := tpm2.GetCapability{
		Capability: tpm2.TPMCapHandles, Property: uint32(tpm2.TPMHTTransient) << 24, PropertyCount: 64,
	}.Execute(s)
	if err != nil {
		return
	}
	list, err := r.CapabilityData.Data.Handles()
	if err != nil {
		return
	}
	for _, h := range list.Handle {
		public, err := tpm2.ReadPublic{ObjectHandle: h}.Execute(s)
		if err == nil && s.t.ours[string(public.Name.Buffer)] && !slices.Contains(keep, h) {
			s.flush(h)
		}
	}
}
