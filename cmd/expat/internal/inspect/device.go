package inspect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/evidence/tpm"
)

// simulatedReport shows the claims of a token, by name and number.
func simulatedReport(value []byte) (*Report, error) {
	u, err := simulated.ParseUnverified(value)
	if err != nil {
		return nil, err
	}
	r := newReport("", len(value))
	r.add("signature algorithm", "%s", u.Algorithm)
	r.add("eat_profile (265)", "%s", u.Profile)
	r.bytes("eat_nonce (10), the binder", u.Nonce)
	r.bytes("key hash (-75001)", u.KeyHash)
	r.add("key provenance (-75002)", "%v", u.Provenance)
	r.bytes("ueid (256)", u.UEID)
	r.bytes("oemid (258)", u.OEMID)
	if u.HardwareModel != nil {
		r.bytes("hwmodel (259)", u.HardwareModel)
	}
	r.add("dbgstat (263)", "%v", u.Debug)
	if u.SoftwareName != "" {
		r.add("swname (270)", "%s", u.SoftwareName)
	}
	if u.SoftwareVersion != "" {
		r.add("swversion (271)", "%s", u.SoftwareVersion)
	}
	for _, m := range u.Measurements {
		r.add("measurement (273)", "%s", strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %x", m.Name, m.Version, m.Algorithm, m.Digest)), " "))
	}
	r.certificates(u.Certificates)
	return r, nil
}

// tpmReport shows what a TPM's Evidence is made of.
func tpmReport(value []byte) (*Report, error) {
	u, err := tpm.ParseUnverified(value)
	if err != nil {
		return nil, err
	}
	r := newReport("", len(value))
	r.add("binder", "%x, of the quote", u.Quote.ExtraData)
	for i, v := range u.PCRs {
		name := "pcr that is not quoted"
		if i < len(u.Quote.Selection) {
			name = fmt.Sprintf("pcr %d", u.Quote.Selection[i])
		}
		r.zeros(name, v)
	}
	r.bytes("parent of the attestation key", u.AKParent)
	r.part(statement(u.Quote))
	r.part(statement(u.Certification))
	r.part(publicArea("attestation key", u.AK))
	r.part(publicArea("certified key", u.Key))
	if u.EventLog == nil {
		r.add("event log", "none")
	} else {
		r.part(eventLog(u.EventLog))
	}
	r.certificates(u.Chain)
	return r, nil
}

// statement shows a TPMS_ATTEST.
func statement(s tpm.Statement) *Report {
	r := newReport(s.Type, s.Size)
	r.add("signature", "%s", s.Signature)
	r.bytes("qualified signer", s.Signer)
	r.bytes("extra data, the binder", s.ExtraData)
	r.add("clock", "%d ms, %d resets, %d restarts, safe %t", s.Clock, s.Resets, s.Restarts, s.Safe)
	r.add("firmware", "%s", s.Firmware)
	if s.Bank == "" {
		r.bytes("certified name", s.CertifiedName)
		return r
	}
	var list []string
	for _, n := range s.Selection {
		list = append(list, fmt.Sprint(n))
	}
	r.add("pcr bank", "%s", s.Bank)
	r.add("pcrs", "%s", strings.Join(list, " "))
	r.bytes("pcr digest", s.PCRDigest)
	return r
}

// publicArea shows a TPMT_PUBLIC.
func publicArea(name string, p tpm.PublicArea) *Report {
	r := newReport(name, p.Size)
	r.bytes("name", p.Name)
	r.add("attributes", "%s", names(p.Attributes))
	r.bytes("policy", p.Policy)
	r.add("scheme", "%s", p.Scheme)
	r.bytes("public key", p.SPKI)
	return r
}

// eventLog sums up what was measured into each PCR.
func eventLog(l *tpm.EventLog) *Report {
	r := newReport("event log", l.Size)
	r.add("events", "%d", len(l.Events))
	r.add("startup locality", "%d", l.Locality)
	types := make(map[int][]string)
	count := make(map[int]int)
	for _, e := range l.Events {
		count[e.PCR]++
		if !slices.Contains(types[e.PCR], e.Type) {
			types[e.PCR] = append(types[e.PCR], e.Type)
		}
	}
	for pcr := range 24 {
		if count[pcr] > 0 {
			r.add(fmt.Sprintf("pcr %d", pcr), "%d events: %s", count[pcr], strings.Join(types[pcr], " "))
		}
	}
	return r
}
