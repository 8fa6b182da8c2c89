package tpm

import (
	"crypto"
	"crypto/x509"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Unverified is what Evidence says. Nothing in it is checked, not even that one part
// belongs to another: anyone can have made it. It is for people who look at Evidence,
// and for nothing that decides.
type Unverified struct {
	AK       PublicArea
	AKParent []byte              // Name of the primary above AK
	Chain    []*x509.Certificate // of AK, its own first
	Key      PublicArea          // the key that Certification is said to be about
	// Certification and Quote are what AK is said to have signed.
	Certification, Quote Statement
	PCRs                 [][]byte // said to be those of Quote, in its order
	EventLog             *EventLog
}

// PublicArea is a TPMT_PUBLIC (TPM 2.0 Library, Part 2).
type PublicArea struct {
	Size       int    // in bytes
	Name       []byte // as computed of it: algorithm and digest
	Attributes []string
	Policy     []byte // authPolicy, empty if there is none
	Scheme     string // such as "ECDSA with SHA-256", "null" if each signature has its own
	Public     crypto.PublicKey
	SPKI       []byte // SubjectPublicKeyInfo in DER
}

// Statement is a TPMS_ATTEST with its TPMT_SIGNATURE.
type Statement struct {
	Size      int    // of the TPMS_ATTEST, in bytes
	Type      string // "certification" or "quote"
	Signer    []byte // qualified Name of the key that signed
	ExtraData []byte // the binder
	Clock     uint64 // milliseconds
	Resets    uint32 // since the TPM was cleared
	Restarts  uint32 // and resumes since the last reset
	Safe      bool   // the clock never showed a later time
	Firmware  string // version, four numbers with dots
	Signature string // scheme, such as "ECDSA with SHA-256"

	CertifiedName []byte // of a certification

	Bank      string // of a quote, such as "SHA-256", as the next two
	Selection []int  // numbers of the PCRs, ascending
	PCRDigest []byte // over the values of these PCRs
}

// EventLog is the log of what was measured into PCRs.
type EventLog struct {
	Size     int  // in bytes
	Locality byte // of the startup of the TPM
	Events   []Event
}

// Event is one extension of a PCR.
type Event struct {
	PCR     int
	Type    string            // such as "EV_SEPARATOR"
	Digests map[string][]byte // by bank, such as "SHA-256"
}

// ParseUnverified reads Evidence and checks only its form. It verifies nothing. The
// error is that of [Extractor.Extract], an [*evidence.Error] that wraps
// evidence.ErrFormat.
func ParseUnverified(value []byte) (*Unverified, error) {
	p, err := parse(value)
	if err != nil {
		return nil, err
	}
	u := &Unverified{
		AK: p.ak.describe(), AKParent: p.Parent, Chain: p.chain, Key: p.key.describe(), PCRs: p.PCRs,
		Certification: p.certify.describe(p.certifySignature), Quote: p.quote.describe(p.quoteSignature),
	}
	u.AK.Size, u.Key.Size, u.Certification.Size, u.Quote.Size = len(p.AK), len(p.report.Key), len(p.Certify), len(p.report.Quote)
	if p.log != nil {
		u.EventLog = p.log.describe()
		u.EventLog.Size = len(p.report.EventLog)
	}
	return u, nil
}

// attributeNames are those of TPMA_OBJECT, in their order.
var attributeNames = []struct {
	bit  uint32
	name string
}{
	{attrFixedTPM, "fixedTPM"}, {attrSTClear, "stClear"}, {attrFixedParent, "fixedParent"},
	{attrSensitiveDataOrigin, "sensitiveDataOrigin"}, {attrUserWithAuth, "userWithAuth"},
	{attrAdminWithPolicy, "adminWithPolicy"}, {attrNoDA, "noDA"}, {attrEncryptedDup, "encryptedDuplication"},
	{attrRestricted, "restricted"}, {attrDecrypt, "decrypt"}, {attrSign, "sign"}, {attrX509Sign, "x509sign"},
}

func (p *publicArea) describe() PublicArea {
	out := PublicArea{Name: p.name, Policy: p.policy, Scheme: schemeName(p.scheme, p.schemeHash), Public: p.key, SPKI: p.spki}
	for _, a := range attributeNames {
		if p.attributes&a.bit != 0 {
			out.Attributes = append(out.Attributes, a.name)
		}
	}
	return out
}

// schemeName names one of the schemes that the parsers take.
func schemeName(scheme tpm2.TPMAlgID, h crypto.Hash) string {
	names := map[tpm2.TPMAlgID]string{tpm2.TPMAlgECDSA: "ECDSA", tpm2.TPMAlgRSASSA: "RSASSA", tpm2.TPMAlgRSAPSS: "RSAPSS"}
	if scheme == tpm2.TPMAlgNull {
		return "null"
	}
	return fmt.Sprintf("%s with %v", names[scheme], h)
}

func (a *statement) describe(sig *signature) Statement {
	out := Statement{
		Type: "certification", Signer: a.signer, ExtraData: a.extraData, Clock: a.clock, Resets: a.resets,
		Restarts: a.restarts, Safe: a.safe, Firmware: a.firmwareVersion(), Signature: schemeName(sig.scheme, sig.hash),
		CertifiedName: a.name,
	}
	if a.typ == tpm2.TPMSTAttestQuote {
		out.Type, out.Bank, out.Selection, out.PCRDigest = "quote", a.bank.String(), a.pcrs, a.pcrDigest
	}
	return out
}

func (l *eventLog) describe() *EventLog {
	out := &EventLog{Locality: l.locality}
	for _, e := range l.events {
		digests := make(map[string][]byte, len(e.digests))
		for h, d := range e.digests {
			digests[h.String()] = d
		}
		out.Events = append(out.Events, Event{PCR: e.pcr, Type: e.typ.String(), Digests: digests})
	}
	return out
}
