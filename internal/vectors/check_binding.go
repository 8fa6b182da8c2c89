package vectors

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
)

type bindingInput struct {
	Connection  Connection   `json:"connection"`
	Profile     string       `json:"profile"`
	Context     Bytes        `json:"context"`
	Certificate Bytes        `json:"certificate"`
	Evidence    evidenceBind `json:"evidence"`
}

// evidenceBind is what Evidence is bound to; what it does not carry is nil.
type evidenceBind struct {
	Binder     *Bytes `json:"binder"`
	KeyHash    *Bytes `json:"key_hash"`
	ReportData *Bytes `json:"report_data"`
}

type bindingExpected struct {
	Label         string `json:"label"`
	ExportedValue Bytes  `json:"exported_value"`
	SPKI          Bytes  `json:"spki"`
	Binder        Bytes  `json:"binder"`
	KeyHash       Bytes  `json:"key_hash"`
	ReportData    Bytes  `json:"report_data"`
}

const (
	reasonBinder     = "binder"
	reasonKeyHash    = "key-hash"
	reasonReportData = "report-data"
)

var bindingSentinels = []sentinel{{attestation.ErrContext, "short-context"}}

var bindingReasons = append(reasons(bindingSentinels), reasonBinder, reasonKeyHash, reasonReportData)

var profiles = map[string]struct {
	profile attestation.Profile
	label   string
}{
	"expat-04": {attestation.Expat04(), "EXPORTER-cmw-attestation"},
	"expat-03": {attestation.Expat03(), "Attestation"},
}

func runBinding(_ *keyring, in *bindingInput) (outcome, error) {
	b, err := bindingOf(&in.Connection, in.Profile, in.Context, in.Certificate)
	if err != nil {
		return reasonOf(err, bindingSentinels)
	}
	for _, carried := range []struct {
		value  *Bytes
		match  func([]byte) bool
		reason string
	}{
		{in.Evidence.Binder, b.MatchBinder, reasonBinder},
		{in.Evidence.KeyHash, b.MatchKeyHash, reasonKeyHash},
		{in.Evidence.ReportData, b.MatchReportData, reasonReportData},
	} {
		if carried.value != nil && !carried.match(*carried.value) {
			return outcome{reason: carried.reason}, nil
		}
	}
	label := profiles[in.Profile].label
	exported, err := in.Connection.ExportKeyingMaterial(label, in.Context, 32)
	if err != nil {
		return outcome{}, err
	}
	report := b.ReportData()
	return outcome{value: bindingExpected{
		Label: label, ExportedValue: exported, SPKI: b.SPKI(),
		Binder: b.Binder(), KeyHash: b.KeyHash(), ReportData: report[:],
	}}, nil
}

// bindingOf gets the Binding that an Attester is handed for a key on a
// connection: there is no other way to one.
func bindingOf(c *Connection, profile string, certContext, certificate []byte) (attestation.Binding, error) {
	var caught catcher
	p, ok := profiles[profile]
	if !ok {
		return caught.binding, fmt.Errorf("profile %q", profile)
	}
	s, err := session(c, sideServer)
	if err != nil {
		return caught.binding, err
	}
	var all []uint16
	for _, scheme := range authenticator.SignatureSchemes() {
		all = append(all, uint16(scheme))
	}
	r, err := s.ReceiveRequest(encodeRequest(msgClientCertificateRequest, certContext, signatureAlgorithms(all...), Extension{Type: extCMW}))
	if err != nil {
		return caught.binding, err
	}
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		return caught.binding, err
	}
	id, err := authenticator.NewIdentity(tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: publicOnly{leaf.PublicKey}})
	if err != nil {
		return caught.binding, err
	}
	_, err = attestation.Attest(context.Background(), p.profile, r, id, &caught, caught.MediaTypes())
	if errors.Is(err, errCaught) {
		err = nil
	}
	return caught.binding, err
}

// catcher is an Attester that keeps what it was asked to attest.
type catcher struct{ binding attestation.Binding }

var errCaught = errors.New("binding caught")

func (*catcher) MediaTypes() []string { return []string{"application/vectors"} }

func (c *catcher) Attest(_ context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	c.binding = b
	return nil, errCaught
}

// publicOnly stands for a key that is not at hand: nothing is signed with it.
type publicOnly struct{ public crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.public }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("there is no private key")
}
