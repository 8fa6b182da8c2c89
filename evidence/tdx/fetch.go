package tdx

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-tdx-guest/pcs"

	"github.com/expat-go/expat/evidence/fetch"
)

// rootCRL is where Intel publishes the revocation list of its root.
const rootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"

// fetchCollateral asks Intel for the collateral of a model of platform. An error
// means that no verdict is reached.
func (x *Extractor) fetchCollateral(ctx context.Context, fmspc string) (*collateral, error) {
	c := new(Collateral)
	var header http.Header
	for _, part := range []struct {
		address string
		into    *[]byte
	}{
		{pcs.QeIdentityURL(), &c.QEIdentity},
		{pcs.PckCrlURL("platform"), &c.PCKCRL},
		{rootCRL, &c.RootCRL},
		{pcs.TcbInfoURL(fmspc), &c.TCBInfo}, // last, as its header has the issuer chain
	} {
		a, err := x.fetch.Get(ctx, part.address)
		if err != nil {
			return nil, fmt.Errorf("tdx: collateral: %w", err)
		}
		*part.into, header = a.Body, a.Header
	}
	chain, err := url.QueryUnescape(header.Get(pcs.TcbInfoIssuerChainPhrase))
	if err != nil {
		return nil, fmt.Errorf("tdx: collateral: %w: issuer chain", fetch.ErrFetch)
	}
	if err := c.setChain([]byte(chain)); err != nil {
		return nil, fmt.Errorf("tdx: collateral: %w", err)
	}
	p, err := c.parse()
	if err != nil {
		return nil, fmt.Errorf("tdx: collateral: %w", err)
	}
	return p, nil
}

// setChain reads the issuer chain: TCB signing certificate and root, in PEM.
func (c *Collateral) setChain(chain []byte) error {
	signing, rest := pem.Decode(chain)
	root, rest := pem.Decode(rest)
	if signing == nil || root == nil || len(rest) != 0 {
		return fmt.Errorf("%w: the issuer chain is not two certificates", ErrCollateral)
	}
	c.TCBSigning, c.Root = signing.Bytes, root.Bytes
	return nil
}
