package tpm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
)

// Platform is the platform in the [evidence.Claims] of a TPM.
const Platform = "tpm2"

// Firmware is the name under which the claims state the version of the TPM's
// firmware, as four numbers with dots.
const Firmware = "tpm-firmware"

// Extractor reads Evidence of TPMs. PCRs become measurements with names such as
// "pcr:sha256:7". The zero Extractor is ready for use.
type Extractor struct {
	// FromLog lists PCRs, 0 to 15, of which the events are stated in place of the
	// value: as one measurement for each event, with names such as
	// "event:sha256:4:EV_EFI_BOOT_SERVICES_APPLICATION". Evidence without a log
	// that leads to the quoted values is then refused.
	FromLog []int
	// Chains remembers the certificate chains of attestation keys. Nil: each is
	// verified anew.
	Chains *evidence.Chains
}

var _ evidence.Extractor = Extractor{}

// MediaTypes holds [MediaType].
func (Extractor) MediaTypes() []string { return []string{MediaType} }

// Extract checks Evidence as [evidence.Extractor] says.
func (e Extractor) Extract(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := evidence.CheckRoots(roots); err != nil {
		return nil, err
	}
	if mediaType != MediaType && !cmw.SameMediaType(mediaType, MediaType) {
		return nil, format("media type", errors.New("it is another"))
	}
	p, err := parse(value)
	if err != nil {
		return nil, err
	}
	signer, err := p.checkSigner(e.Chains, roots, now)
	if err != nil {
		return nil, err
	}
	if err := p.checkStatements(); err != nil {
		return nil, err
	}
	measured, err := e.measurements(p)
	if err != nil {
		return nil, err
	}
	return p.result(signer, measured), nil
}

// checkStatements verifies what the attestation key signed, and that what is given
// beside it is what it speaks of.
func (p *parsedReport) checkStatements() error {
	for _, c := range []struct {
		name      string
		statement *statement
		typ       tpm2.TPMST
		bytes     []byte
		signature *signature
	}{
		{"certification", p.certify, tpm2.TPMSTAttestCertify, p.Certify, p.certifySignature},
		{"quote", p.quote, tpm2.TPMSTAttestQuote, p.Quote, p.quoteSignature},
	} {
		if err := c.signature.verify(p.ak, c.bytes); err != nil {
			return unsigned(c.name, err)
		}
		if c.statement.typ != c.typ {
			return unsigned(c.name, ErrType)
		}
		if !bytes.Equal(c.statement.signer, signerName(p.Parent, p.ak.name)) {
			return unsigned(c.name, ErrSigner)
		}
	}
	switch {
	case subtle.ConstantTimeCompare(p.certify.extraData, p.quote.extraData) != 1:
		return unsigned("binder", ErrMixed)
	case !bytes.Equal(p.certify.name, p.key.name):
		return unsigned("certified key", ErrName)
	}
	return p.checkPCRs()
}

func (p *parsedReport) checkPCRs() error {
	if len(p.PCRs) != len(p.quote.pcrs) {
		return unsigned("PCRs", ErrPCRSelection)
	}
	for _, v := range p.PCRs {
		if len(v) != p.quote.bank.Size() {
			return unsigned("PCRs", ErrPCRSelection)
		}
	}
	if !bytes.Equal(p.quote.pcrDigest, pcrDigest(p.ak.schemeHash, p.PCRs)) {
		return unsigned("PCRs", ErrPCRDigest)
	}
	return nil
}

// bankNames are the parts of names of measurements, and the names in the IANA
// registry.
var bankNames = map[int][2]string{32: {"sha256", "sha-256"}, 48: {"sha384", "sha-384"}, 64: {"sha512", "sha-512"}}

// measurements states the quoted PCRs, or the events that led to them.
func (e Extractor) measurements(p *parsedReport) ([]evidence.Measurement, error) {
	bank := bankNames[p.quote.bank.Size()]
	var out []evidence.Measurement
	for i, pcr := range p.quote.pcrs {
		if slices.Contains(e.FromLog, pcr) {
			continue
		}
		out = append(out, evidence.Measurement{
			Name: fmt.Sprintf("pcr:%s:%d", bank[0], pcr), Algorithm: bank[1], Digest: p.PCRs[i],
		})
	}
	for _, pcr := range e.FromLog {
		events, err := p.replay(pcr)
		if err != nil {
			return nil, unsigned("event log", err)
		}
		for _, ev := range events {
			out = append(out, evidence.Measurement{
				Name: fmt.Sprintf("event:%s:%d:%v", bank[0], pcr, ev.typ), Algorithm: bank[1], Digest: ev.digest,
			})
		}
	}
	return out, nil
}

// result states what the Evidence says in the common vocabulary.
func (p *parsedReport) result(s *signer, measured []evidence.Measurement) *evidence.Claims {
	keyID := sha256.Sum256(p.chain[0].RawSubjectPublicKeyInfo)
	c := &evidence.Claims{
		Platform:      Platform,
		Form:          evidence.CertifiedKey,
		Binder:        p.quote.extraData,
		SPKI:          p.key.spki,
		Instance:      s.instance,
		Vendor:        s.manufacturer,
		HardwareModel: s.model,
		Debug:         evidence.DebugLeftToSoftware,
		Software:      []evidence.Software{{Name: Firmware, Version: p.quote.firmwareVersion()}},
		Measurements:  measured,
		Key:           evidence.KeyExternal,
		Signer:        evidence.Signer{Serial: p.chain[0].SerialNumber.Bytes(), KeyID: keyID[:], NotAfter: s.notAfter},
	}
	if p.key.bornInside() {
		c.Key = evidence.KeyBornInside
	}
	return c
}

// instanceOf reads the device's identifier out of the subject of a certificate: the
// attribute serialNumber holds the SHA-256 of the endorsement key's
// SubjectPublicKeyInfo, in lower-case hex.
func instanceOf(c *x509.Certificate) ([]byte, error) {
	id, err := hex.DecodeString(c.Subject.SerialNumber)
	if err != nil || len(id) != sha256.Size || hex.EncodeToString(id) != c.Subject.SerialNumber {
		return nil, fmt.Errorf("%w: its subject names no device", ErrAKCertificate)
	}
	return id, nil
}
