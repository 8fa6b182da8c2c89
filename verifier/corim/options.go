package corim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Options says whose CoRIM is good, and for which environment it is read.
type Options struct {
	// Keys are the public keys whose owners may state reference values: ECDSA on
	// P-256, P-384 or P-521, or Ed25519. Exactly one of Keys, Roots and
	// AcceptUnsignedFromAnyone is required.
	Keys []crypto.PublicKey
	// Roots are the roots of certificates whose subjects, all of them, may state
	// reference values. The signer's certificate is in x5chain (RFC 9360); any
	// extended key usage will do. Never the roots of TLS certificates.
	Roots *x509.CertPool
	// AcceptUnsignedFromAnyone takes a CoRIM that nobody signed: whoever can
	// write the file decides what software is good. A signed one is then refused,
	// for its signature would not be looked at.
	AcceptUnsignedFromAnyone bool

	// Profiles are the profiles, URIs or dotted OIDs, whose CoRIMs are read by
	// the rules of this package. Every profile that a CoRIM states must be among
	// them, and it must state one. Empty: only CoRIMs without a profile.
	Profiles []string

	// ClassID selects the environments: "uuid:" and a UUID, "oid:" and a dotted
	// OID, "bytes:" and hex. Triples for other class identifiers are left out.
	// Empty: no triple may have a class identifier, as Evidence has none to
	// compare it with.
	ClassID string
	// Names gives the name of a measurement in Evidence by the name in the CoRIM,
	// where they differ. The name in the CoRIM is the measurement's key: text, or
	// a UUID, OID or number as text; "" is the measurement without one.
	Names map[string]string

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

func (o *Options) check() error {
	sources := 0
	for _, given := range []bool{len(o.Keys) > 0, o.Roots != nil, o.AcceptUnsignedFromAnyone} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return fail(ErrOptions, "signer", "set one of Keys, Roots and AcceptUnsignedFromAnyone")
	}
	if o.Roots != nil && o.Roots.Equal(x509.NewCertPool()) {
		return fail(ErrOptions, "signer", "Roots is empty")
	}
	for i, key := range o.Keys {
		if _, ok := algorithmOf(key); !ok {
			return fail(ErrOptions, "signer", fmt.Sprintf("Keys[%d] is not ECDSA on P-256, P-384 or P-521, or Ed25519", i))
		}
	}
	for key, name := range o.Names {
		if name == "" {
			return fail(ErrOptions, "names", fmt.Sprintf("Names[%q] is empty", key))
		}
	}
	return nil
}

func (o *Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

var errPEM = errors.New("want PEM blocks of type PUBLIC KEY, or of type CERTIFICATE, and nothing else")

// Trust sets Keys or Roots from PEM: blocks of type PUBLIC KEY are keys of signers,
// blocks of type CERTIFICATE are roots. Both in one text, and anything else, is an
// error.
func (o *Options) Trust(text []byte) error {
	var keys []crypto.PublicKey
	roots, certificates := x509.NewCertPool(), 0
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) { // pem.Decode skips what it does not know
			return failed(ErrOptions, "signer", errPEM)
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return failed(ErrOptions, "signer", errPEM)
		}
		switch block.Type {
		case "PUBLIC KEY":
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return failed(ErrOptions, "signer", err)
			}
			keys = append(keys, key)
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return failed(ErrOptions, "signer", err)
			}
			roots.AddCert(cert)
			certificates++
		default:
			return failed(ErrOptions, "signer", errPEM)
		}
	}
	if (len(keys) > 0) == (certificates > 0) {
		return failed(ErrOptions, "signer", errPEM)
	}
	o.Keys, o.Roots = keys, nil
	if certificates > 0 {
		o.Roots = roots
	}
	return nil
}

// algorithmOf names the one algorithm with which a key may sign (RFC 9053,
// Section 2): a curve has the hash of its strength.
func algorithmOf(key crypto.PublicKey) (int64, bool) {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key == nil || key.Curve == nil {
			return 0, false
		}
		alg, ok := curves[key.Curve.Params().Name]
		return alg, ok
	case ed25519.PublicKey:
		return algEdDSA, len(key) == ed25519.PublicKeySize
	}
	return 0, false
}
