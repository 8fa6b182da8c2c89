package tdx

import (
	"fmt"
	"os"
	"path/filepath"
)

// LoadCollateral reads the collateral of one model of platform from a directory:
//
//	tcb-info.json  qe-identity.json    bodies as the service sent them
//	pck.crl  root.crl                  in DER
//	tcb-signing.pem                    issuer chain: TCB signing certificate, root
//
// The error wraps [ErrCollateral] or [ErrSize].
func LoadCollateral(dir string) (*Collateral, error) {
	var chain []byte
	c := new(Collateral)
	for name, into := range map[string]*[]byte{
		"tcb-info.json": &c.TCBInfo, "qe-identity.json": &c.QEIdentity,
		"pck.crl": &c.PCKCRL, "root.crl": &c.RootCRL, "tcb-signing.pem": &chain,
	} {
		var err error
		if *into, err = readFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCollateral, err)
		}
	}
	if err := c.setChain(chain); err != nil {
		return nil, err
	}
	if _, err := c.parse(); err != nil {
		return nil, err
	}
	return c, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPart {
		return nil, fmt.Errorf("%s has more than %d bytes", filepath.Base(name), maxPart)
	}
	return os.ReadFile(name)
}
