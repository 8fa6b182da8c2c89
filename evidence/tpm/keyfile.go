package tpm

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// pemKey is the block type of TPM keys that OpenSSL's TPM providers use too. The
// private part is encrypted by the TPM and worthless without it.
const pemKey = "TSS2 PRIVATE KEY"

// keyFile is TPMKey of the ASN.1 format for TPM 2.0 key files.
type keyFile struct {
	Type      asn1.ObjectIdentifier
	EmptyAuth bool `asn1:"explicit,tag:0"`
	Parent    int64
	Public    []byte // TPM2B_PUBLIC
	Private   []byte // TPM2B_PRIVATE
}

// oidLoadable is id-loadablekey: a key to be loaded under its parent.
var oidLoadable = asn1.ObjectIdentifier{2, 23, 133, 10, 1, 3}

// maxKeyFile is the largest key file taken, in bytes.
const maxKeyFile = 16 << 10

// MarshalPEM encodes the key so that this TPM, and no other, can load it again. The
// authorization value is not in it.
func (k *key) MarshalPEM() ([]byte, error) {
	der, err := asn1.Marshal(keyFile{
		Type: oidLoadable, EmptyAuth: len(k.auth) == 0, Parent: int64(k.hierarchy),
		Public: sized(k.public), Private: sized(k.private),
	})
	if err != nil {
		return nil, fmt.Errorf("tpm: encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// sized is b as a TPM2B.
func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func unsized(b []byte) ([]byte, bool) {
	if len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		return nil, false
	}
	return b[2:], true
}

// LoadAK takes an attestation key from what [AK.MarshalPEM] wrote, with the
// authorization value it was made with. The error wraps [ErrKeyFile] also where
// the key is of another TPM.
func (t *TPM) LoadAK(ctx context.Context, file, auth []byte) (*AK, error) {
	k, err := t.loadFile(ctx, file, auth, tpm2.TPMRHEndorsement)
	if err != nil {
		return nil, fmt.Errorf("tpm: load attestation key: %w", err)
	}
	if !k.area.restricted() {
		return nil, fmt.Errorf("tpm: load attestation key: %w: %w", ErrKeyFile, ErrNotRestricted)
	}
	return &AK{*k}, nil
}

// LoadKey takes a TLS key from what [Key.MarshalPEM] wrote, as LoadAK does.
func (t *TPM) LoadKey(ctx context.Context, file, auth []byte) (*Key, error) {
	k, err := t.loadFile(ctx, file, auth, tpm2.TPMRHOwner)
	if err != nil {
		return nil, fmt.Errorf("tpm: load TLS key: %w", err)
	}
	if k.area.restricted() {
		return nil, fmt.Errorf("tpm: load TLS key: %w: it signs only what the TPM makes", ErrKeyFile)
	}
	return &Key{*k}, nil
}

func (t *TPM) loadFile(ctx context.Context, file, auth []byte, hierarchy tpm2.TPMHandle) (*key, error) {
	k, err := parseKeyFile(t, file, auth)
	if err != nil {
		return nil, err
	}
	if k.hierarchy != hierarchy {
		return nil, fmt.Errorf("%w: its parent is in another hierarchy", ErrKeyFile)
	}
	return run(ctx, t, func(s *session) (*key, error) {
		_, err := s.load(k)
		return k, err
	})
}

func parseKeyFile(t *TPM, file, auth []byte) (*key, error) {
	if len(file) > maxKeyFile {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrKeyFile, maxKeyFile)
	}
	block, rest := pem.Decode(file)
	if block == nil || block.Type != pemKey || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("%w: not one PEM block %s", ErrKeyFile, pemKey)
	}
	var f keyFile
	rest, err := asn1.Unmarshal(block.Bytes, &f)
	if err != nil || len(rest) != 0 || !f.Type.Equal(oidLoadable) {
		return nil, fmt.Errorf("%w: not a loadable key with an authorization flag", ErrKeyFile)
	}
	if f.EmptyAuth != (len(auth) == 0) {
		return nil, fmt.Errorf("%w: either it or the caller has an authorization value", ErrKeyFile)
	}
	public, ok := unsized(f.Public)
	private, ok2 := unsized(f.Private)
	if !ok || !ok2 {
		return nil, fmt.Errorf("%w: a part has the wrong size", ErrKeyFile)
	}
	k, err := newKey(t, tpm2.TPMHandle(f.Parent), bytes.Clone(auth), public, private, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return k, nil
}
