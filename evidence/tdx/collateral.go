package tdx

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/pcs"
)

// Collateral is what Intel's Provisioning Certification Service says of one model
// of platform (FMSPC), as its API, version 4, answers. Intel has signed every
// part, so that it does not matter who hands it in.
type Collateral struct {
	TCBInfo    []byte `cbor:"1,keyasint"` // body of /tdx/certification/v4/tcb, JSON
	QEIdentity []byte `cbor:"2,keyasint"` // body of /tdx/certification/v4/qe/identity, JSON
	PCKCRL     []byte `cbor:"3,keyasint"` // body of /sgx/certification/v4/pckcrl?ca=platform, DER
	RootCRL    []byte `cbor:"4,keyasint"` // Intel SGX Root CA CRL, DER
	// TCBSigning and Root are the issuer chain of TCBInfo and QEIdentity, in DER.
	TCBSigning []byte `cbor:"5,keyasint"`
	Root       []byte `cbor:"6,keyasint"`
}

// collateral is parsed. Its signatures are verified with each quote.
type collateral struct {
	tcbInfo, qeIdentity   []byte // each rebuilt of its signed part and signature
	pckCRL, rootCRL       []byte
	issuerChain           string // as the service's header has it
	info                  pcs.TcbInfo
	identity              pcs.EnclaveIdentity
	pckRevoked, caRevoked *x509.RevocationList
	signing, root         *x509.Certificate
}

// parse reads collateral. The error wraps ErrCollateral or ErrSize.
func (c *Collateral) parse() (*collateral, error) {
	for _, part := range [][]byte{c.TCBInfo, c.QEIdentity, c.PCKCRL, c.RootCRL, c.TCBSigning, c.Root} {
		if len(part) == 0 || len(part) > maxPart {
			return nil, fmt.Errorf("%w: a part of the collateral is not 1 to %d bytes", ErrSize, maxPart)
		}
	}
	out := &collateral{pckCRL: bytes.Clone(c.PCKCRL), rootCRL: bytes.Clone(c.RootCRL)}
	err := guard(func() (err error) {
		if out.tcbInfo, err = signedJSON(c.TCBInfo, "tcbInfo", &out.info); err != nil {
			return fmt.Errorf("%w: TCB info: %w", ErrCollateral, err)
		}
		if out.qeIdentity, err = signedJSON(c.QEIdentity, "enclaveIdentity", &out.identity); err != nil {
			return fmt.Errorf("%w: QE identity: %w", ErrCollateral, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var errs [4]error
	out.pckRevoked, errs[0] = x509.ParseRevocationList(c.PCKCRL)
	out.caRevoked, errs[1] = x509.ParseRevocationList(c.RootCRL)
	out.signing, errs[2] = x509.ParseCertificate(c.TCBSigning)
	out.root, errs[3] = x509.ParseCertificate(c.Root)
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%w: a revocation list or certificate cannot be parsed", ErrCollateral)
		}
	}
	out.issuerChain = escapeChain(out.signing, out.root)
	return out, nil
}

// escapeChain writes certificates as the service's header does.
func escapeChain(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return url.QueryEscape(b.String())
}

// signedJSON reads {NAME: signed, "signature": hex} into the value of the signed
// part, and writes exactly these two again. The library takes the signed part
// from a map, by the exact key, but what it then uses from a struct, where
// encoding/json also takes a key that differs in case, or the last of two: with
// such a key unsigned values would be used beside a good signature.
func signedJSON(body []byte, name string, into any) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	var signed, signature json.RawMessage
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, errors.New("it is no JSON object")
		}
		switch {
		case key == name && signed == nil:
			err = d.Decode(&signed)
		case key == "signature" && signature == nil:
			err = d.Decode(&signature)
		default:
			return nil, errors.New("it has a member twice, or one that does not belong there")
		}
		if err != nil {
			return nil, errors.New("it is no JSON object")
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("it is no JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows it")
	}
	var text string
	if json.Unmarshal(signature, &text) != nil {
		return nil, errors.New("it has no signature")
	}
	if b, err := hex.DecodeString(text); err != nil || len(b) != sigSize {
		return nil, errors.New("its signature is not 64 bytes in hex")
	}
	if len(signed) == 0 || json.Unmarshal(signed, into) != nil {
		return nil, errors.New("its signed part is not as Intel specifies it")
	}
	return fmt.Appendf(nil, `{%q:%s,"signature":%q}`, name, signed, text), nil
}

// check says in our terms what of the collateral is against the quote. Nothing is
// verified here: the library does that, and says less.
func (c *collateral) check(p *parsed, now time.Time) error {
	for _, end := range []time.Time{
		c.info.NextUpdate, c.identity.NextUpdate, c.pckRevoked.NextUpdate, c.caRevoked.NextUpdate, c.signing.NotAfter,
	} {
		if now.After(end) {
			return ErrCollateralExpired
		}
	}
	for _, start := range []time.Time{c.info.IssueDate, c.identity.IssueDate, c.pckRevoked.ThisUpdate, c.caRevoked.ThisUpdate} {
		if now.Before(start) {
			return ErrCollateralExpired
		}
	}
	if revoked(c.pckRevoked, p.chain.PCKCertificate) || revoked(c.caRevoked, p.chain.IntermediateCertificate) || revoked(c.caRevoked, c.signing) {
		return ErrRevoked
	}
	return c.upToDate(p)
}

func revoked(l *x509.RevocationList, c *x509.Certificate) bool {
	for _, e := range l.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

// upToDate applies Intel's rule for the status of a platform. Where the TDX module
// has levels of its own, the platform's level counts as well; go-tdx-guest then
// looks at the module's alone.
func (c *collateral) upToDate(p *parsed) error {
	svn := p.teeTCBSVN()
	platform := pcs.TcbComponentStatus("not listed")
	for _, l := range c.info.TcbLevels {
		if p.reaches(l.Tcb) {
			platform = l.TcbStatus
			break
		}
	}
	if platform != pcs.TcbComponentStatusUpToDate {
		return fmt.Errorf("%w: Intel calls the platform %s", ErrTCB, platform)
	}
	if svn[1] > 0 {
		if status := c.moduleStatus(svn); status != pcs.TcbComponentStatusUpToDate {
			return fmt.Errorf("%w: Intel calls the TDX module %s", ErrTCB, status)
		}
	}
	for _, l := range c.identity.TcbLevels {
		if l.Tcb.Isvsvn <= uint32(p.qeSVN()) {
			if l.TcbStatus == pcs.TcbComponentStatusUpToDate {
				return nil
			}
			return fmt.Errorf("%w: Intel calls the quoting enclave %s", ErrTCB, l.TcbStatus)
		}
	}
	return fmt.Errorf("%w: Intel does not list the quoting enclave", ErrTCB)
}

func (c *collateral) moduleStatus(svn []byte) pcs.TcbComponentStatus {
	id := fmt.Sprintf("TDX_%02x", svn[1])
	for _, m := range c.info.TdxModuleIdentities {
		if m.ID != id {
			continue
		}
		for _, l := range m.TcbLevels {
			if l.Tcb.Isvsvn <= uint32(svn[0]) {
				return l.TcbStatus
			}
		}
	}
	return "not listed"
}

// reaches tells whether the platform is at a level or above.
func (p *parsed) reaches(l pcs.Tcb) bool {
	svn, start := p.teeTCBSVN(), 0
	if svn[1] > 0 {
		start = 2 // the module has levels of its own
	}
	cpu := p.platform.TCB.CPUSvnComponents
	if len(l.SgxTcbcomponents) != len(cpu) || len(l.TdxTcbcomponents) != len(svn) || p.platform.TCB.PCESvn < l.Pcesvn {
		return false
	}
	for i, have := range cpu {
		if have < l.SgxTcbcomponents[i].Svn {
			return false
		}
	}
	for i, have := range svn {
		if i >= start && have < l.TdxTcbcomponents[i].Svn {
			return false
		}
	}
	return true
}

// shelf hands collateral to the library as if it came from the service.
type shelf struct {
	c *collateral
	p *parsed
}

func (s *shelf) Get(address string) (map[string][]string, []byte, error) {
	switch address {
	case pcs.TcbInfoURL(s.p.platform.FMSPC):
		return map[string][]string{pcs.TcbInfoIssuerChainPhrase: {s.c.issuerChain}}, s.c.tcbInfo, nil
	case pcs.QeIdentityURL():
		return map[string][]string{pcs.SgxQeIdentityIssuerChainPhrase: {s.c.issuerChain}}, s.c.qeIdentity, nil
	case pcs.PckCrlURL("platform"):
		chain := escapeChain(s.p.chain.IntermediateCertificate, s.p.chain.RootCertificate)
		return map[string][]string{pcs.SgxPckCrlIssuerChainPhrase: {chain}}, s.c.pckCRL, nil
	}
	return nil, s.c.rootCRL, nil // its address is that in the root's certificate
}
