package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/crypto/cryptobyte"
)

// The structures of TPM 2.0 Library, Part 2, that come from the peer are read here
// and not by go-tpm, whose decoder takes trailing bytes, reserved bits and points
// that are not on the curve.

// maxStructure bounds each of them, in bytes. The largest, the public area of a key
// with RSA 4096, has 536.
const maxStructure = 1024

// hashes are the digest algorithms that are strong enough. SHA-1 is not among them.
var hashes = map[tpm2.TPMAlgID]crypto.Hash{
	tpm2.TPMAlgSHA256: crypto.SHA256, tpm2.TPMAlgSHA384: crypto.SHA384, tpm2.TPMAlgSHA512: crypto.SHA512,
}

// readHash reads a TPMI_ALG_HASH.
func readHash(s *cryptobyte.String, h *crypto.Hash) bool {
	var id uint16
	if !s.ReadUint16(&id) {
		return false
	}
	*h = hashes[tpm2.TPMAlgID(id)]
	return *h != 0
}

// hashID is the inverse of hashes.
func hashID(h crypto.Hash) (tpm2.TPMAlgID, bool) {
	for id, known := range hashes {
		if known == h {
			return id, true
		}
	}
	return 0, false
}

// Attributes of an object (Part 2, TPMA_OBJECT).
const (
	attrFixedTPM            = 1 << 1
	attrSTClear             = 1 << 2
	attrFixedParent         = 1 << 4
	attrSensitiveDataOrigin = 1 << 5
	attrUserWithAuth        = 1 << 6
	attrAdminWithPolicy     = 1 << 7
	attrNoDA                = 1 << 10
	attrEncryptedDup        = 1 << 11
	attrRestricted          = 1 << 16
	attrDecrypt             = 1 << 17
	attrSign                = 1 << 18
	attrX509Sign            = 1 << 19

	attrKnown = attrFixedTPM | attrSTClear | attrFixedParent | attrSensitiveDataOrigin | attrUserWithAuth |
		attrAdminWithPolicy | attrNoDA | attrEncryptedDup | attrRestricted | attrDecrypt | attrSign | attrX509Sign
	// attrBornInside together say that the TPM made a key that cannot leave it.
	attrBornInside = attrFixedTPM | attrFixedParent | attrSensitiveDataOrigin
)

// publicArea is a TPMT_PUBLIC of a signing key.
type publicArea struct {
	name       []byte // nameAlg ‖ H(TPMT_PUBLIC), over the bytes as received
	attributes uint32
	policy     []byte        // authPolicy, empty if there is none
	scheme     tpm2.TPMAlgID // TPM_ALG_NULL: chosen for each signature
	schemeHash crypto.Hash   // 0 with TPM_ALG_NULL
	key        crypto.PublicKey
	spki       []byte // DER
}

// bornInside tells that the TPM made the key and that it cannot leave.
func (p *publicArea) bornInside() bool {
	return p.attributes&(attrBornInside|attrEncryptedDup) == attrBornInside
}

// restricted tells that the key signs only what the TPM itself has made.
func (p *publicArea) restricted() bool {
	return p.attributes&(attrRestricted|attrSign|attrDecrypt|attrX509Sign) == attrRestricted|attrSign &&
		p.scheme != tpm2.TPMAlgNull
}

var errPublic = errors.New("not the public area of an ECDSA or RSA signing key")

// parsePublic reads a TPMT_PUBLIC.
func parsePublic(b []byte) (*publicArea, error) {
	if len(b) > maxStructure {
		return nil, errPublic
	}
	s := cryptobyte.String(b)
	p := new(publicArea)
	var typ, symmetric, scheme uint16
	var nameHash crypto.Hash
	var policy cryptobyte.String
	if !s.ReadUint16(&typ) || !readHash(&s, &nameHash) ||
		!s.ReadUint32(&p.attributes) || p.attributes&^attrKnown != 0 || p.attributes&attrSign == 0 ||
		!s.ReadUint16LengthPrefixed(&policy) || (len(policy) != 0 && len(policy) != nameHash.Size()) ||
		!s.ReadUint16(&symmetric) || tpm2.TPMAlgID(symmetric) != tpm2.TPMAlgNull || !s.ReadUint16(&scheme) {
		return nil, errPublic
	}
	p.scheme, p.policy = tpm2.TPMAlgID(scheme), policy
	if p.scheme != tpm2.TPMAlgNull && !readHash(&s, &p.schemeHash) {
		return nil, errPublic
	}
	var ok bool
	switch tpm2.TPMAlgID(typ) {
	case tpm2.TPMAlgECC:
		p.key, ok = readECC(&s)
		ok = ok && (p.scheme == tpm2.TPMAlgNull || p.scheme == tpm2.TPMAlgECDSA)
	case tpm2.TPMAlgRSA:
		p.key, ok = readRSA(&s)
		ok = ok && (p.scheme == tpm2.TPMAlgNull || p.scheme == tpm2.TPMAlgRSASSA || p.scheme == tpm2.TPMAlgRSAPSS)
	}
	if !ok || !s.Empty() {
		return nil, errPublic
	}
	var err error
	if p.spki, err = x509.MarshalPKIXPublicKey(p.key); err != nil {
		return nil, errPublic
	}
	p.name = nameOf(nameHash, b)
	return p, nil
}

// nameOf computes a Name (Part 1, Names): nameAlg ‖ H(parts), for one of hashes.
func nameOf(h crypto.Hash, parts ...[]byte) []byte {
	id, _ := hashID(h)
	d := h.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(binary.BigEndian.AppendUint16(nil, uint16(id)))
}

// readECC reads the end of TPMS_ECC_PARMS and a TPMS_ECC_POINT, which must be on
// the curve.
func readECC(s *cryptobyte.String) (crypto.PublicKey, bool) {
	var id, kdf uint16
	var x, y cryptobyte.String
	if !s.ReadUint16(&id) || !s.ReadUint16(&kdf) || tpm2.TPMAlgID(kdf) != tpm2.TPMAlgNull ||
		!s.ReadUint16LengthPrefixed(&x) || !s.ReadUint16LengthPrefixed(&y) {
		return nil, false
	}
	var curve elliptic.Curve
	switch tpm2.TPMECCCurve(id) {
	case tpm2.TPMECCNistP256:
		curve = elliptic.P256()
	case tpm2.TPMECCNistP384:
		curve = elliptic.P384()
	default:
		return nil, false
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) > size || len(y) > size {
		return nil, false
	}
	point := make([]byte, 1+2*size) // some TPMs leave leading zeros out
	point[0] = 4
	copy(point[1+size-len(x):], x)
	copy(point[1+2*size-len(y):], y)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	return key, err == nil
}

// defaultExponent is what exponent 0 means (Part 2, TPMS_RSA_PARMS).
const defaultExponent = 65537

// readRSA reads the end of TPMS_RSA_PARMS and the modulus.
func readRSA(s *cryptobyte.String) (crypto.PublicKey, bool) {
	var bits uint16
	var exponent uint32
	var n cryptobyte.String
	if !s.ReadUint16(&bits) || !s.ReadUint32(&exponent) || !s.ReadUint16LengthPrefixed(&n) {
		return nil, false
	}
	if (bits != 2048 && bits != 3072 && bits != 4096) || len(n) != int(bits)/8 ||
		n[0]&0x80 == 0 || n[len(n)-1]&1 == 0 || (exponent != 0 && exponent != defaultExponent) {
		return nil, false
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: defaultExponent}, true
}

// signature is a TPMT_SIGNATURE.
type signature struct {
	scheme tpm2.TPMAlgID
	hash   crypto.Hash
	r, s   []byte // ECDSA
	rsa    []byte
}

var errSignature = errors.New("not a signature of ECDSA, RSASSA or RSAPSS")

// parseSignature reads a TPMT_SIGNATURE.
func parseSignature(b []byte) (*signature, error) {
	if len(b) > maxStructure {
		return nil, errSignature
	}
	s := cryptobyte.String(b)
	var scheme uint16
	sig := new(signature)
	if !s.ReadUint16(&scheme) || !readHash(&s, &sig.hash) {
		return nil, errSignature
	}
	sig.scheme = tpm2.TPMAlgID(scheme)
	var first, second cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&first) {
		return nil, errSignature
	}
	switch sig.scheme {
	case tpm2.TPMAlgECDSA:
		if !s.ReadUint16LengthPrefixed(&second) {
			return nil, errSignature
		}
		sig.r, sig.s = first, second
	case tpm2.TPMAlgRSASSA, tpm2.TPMAlgRSAPSS:
		sig.rsa = first
	default:
		return nil, errSignature
	}
	if !s.Empty() {
		return nil, errSignature
	}
	return sig, nil
}

// verify checks the signature of a restricted key over a message. Scheme and hash
// are those of the key.
func (sig *signature) verify(p *publicArea, message []byte) error {
	if sig.scheme != p.scheme || sig.hash != p.schemeHash {
		return errors.New("the scheme is not that of the key")
	}
	d := sig.hash.New()
	d.Write(message)
	digest := d.Sum(nil)
	switch key := p.key.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.Verify(key, digest, new(big.Int).SetBytes(sig.r), new(big.Int).SetBytes(sig.s)) {
			return nil
		}
	case *rsa.PublicKey:
		if sig.scheme == tpm2.TPMAlgRSASSA {
			return rsa.VerifyPKCS1v15(key, sig.hash, digest, sig.rsa)
		}
		// TPMs differ in the length of the salt.
		return rsa.VerifyPSS(key, sig.hash, digest, sig.rsa, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
	}
	return fmt.Errorf("verification failed with %v", sig.hash)
}
