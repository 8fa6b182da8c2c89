package tpm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/detcbor"
)

// Selection are PCRs of one bank.
type Selection struct {
	Bank crypto.Hash // SHA-256, SHA-384 or SHA-512; zero: SHA-256
	PCRs []int       // 0 to 23, at least one
}

// AttesterOptions say what an [Attester] shows.
type AttesterOptions struct {
	// AK signs. Its chain begins with its own certificate, as package enroll
	// makes it; the root may be left out. Both are required.
	AK    *AK
	Chain []*x509.Certificate
	// Keys are the TLS keys that are attested, in the TPM of AK. Required.
	Keys []*Key
	// PCRs are quoted. Relying parties must expect the same ones. Required.
	PCRs Selection
	// EventLog, if set, reads the log of what was measured into the PCRs, at
	// most 48 KiB; on Linux it is in
	// /sys/kernel/security/tpm0/binary_bios_measurements. Nil: no log is sent.
	EventLog func(context.Context) ([]byte, error)
}

// Attester answers a Binding with Evidence about a TLS key and the PCRs.
type Attester struct {
	tpm       *TPM
	ak        *AK
	chain     [][]byte
	keys      []*Key
	selection tpm2.TPMLPCRSelection
	bank      crypto.Hash
	eventLog  func(context.Context) ([]byte, error)
}

var _ attestation.Attester = (*Attester)(nil)

// NewAttester makes an Attester. The error wraps [ErrOptions].
func NewAttester(o AttesterOptions) (*Attester, error) {
	if o.AK == nil || len(o.Chain) == 0 || len(o.Keys) == 0 {
		return nil, fmt.Errorf("%w: AK, Chain and Keys are required", ErrOptions)
	}
	if len(o.Chain) > maxChain {
		return nil, fmt.Errorf("%w: Chain has more than %d certificates", ErrOptions, maxChain)
	}
	if !bytes.Equal(o.Chain[0].RawSubjectPublicKeyInfo, o.AK.area.spki) {
		return nil, fmt.Errorf("%w: the first certificate of Chain is not AK's", ErrOptions)
	}
	for _, k := range o.Keys {
		if k == nil || k.tpm != o.AK.tpm {
			return nil, fmt.Errorf("%w: a key is not in the TPM of AK", ErrOptions)
		}
	}
	selection, bank, err := o.PCRs.list()
	if err != nil {
		return nil, err
	}
	a := &Attester{
		tpm: o.AK.tpm, ak: o.AK, keys: slices.Clone(o.Keys),
		selection: selection, bank: bank, eventLog: o.EventLog,
	}
	for _, c := range o.Chain {
		a.chain = append(a.chain, bytes.Clone(c.Raw))
	}
	return a, nil
}

// list is the selection as the TPM takes it.
func (s Selection) list() (tpm2.TPMLPCRSelection, crypto.Hash, error) {
	bank := s.Bank
	if bank == 0 {
		bank = crypto.SHA256
	}
	id, ok := hashID(bank)
	if !ok || len(s.PCRs) == 0 {
		return tpm2.TPMLPCRSelection{}, 0, fmt.Errorf("%w: PCRs needs a bank of SHA-256, SHA-384 or SHA-512 and a PCR", ErrOptions)
	}
	mask := make([]byte, pcrCount/8)
	for _, i := range s.PCRs {
		if i < 0 || i >= pcrCount {
			return tpm2.TPMLPCRSelection{}, 0, fmt.Errorf("%w: there is no PCR %d", ErrOptions, i)
		}
		mask[i/8] |= 1 << (i % 8)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: id, PCRSelect: mask}}}, bank, nil
}

// MediaTypes holds [MediaType].
func (a *Attester) MediaTypes() []string { return []string{MediaType} }

// Attest has the TPM certify the key of b and quote the PCRs. The error wraps
// [ErrKeyNotHere] for a key that is not among the Attester's,
// [attestation.ErrMediaType] if [MediaType] is not accepted, or what the TPM
// answered: [ErrGone], [ErrLockout], [ErrAuth], [ErrPCRsChange].
func (a *Attester) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(attestation.Common(a.MediaTypes(), accept)) == 0 {
		return nil, fmt.Errorf("tpm: %w", attestation.ErrMediaType)
	}
	i := slices.IndexFunc(a.keys, func(k *Key) bool { return b.MatchKey(k.area.spki) })
	if i < 0 {
		return nil, ErrKeyNotHere
	}
	r, err := run(ctx, a.tpm, func(s *session) (*report, error) { return a.collect(s, a.keys[i], b.Binder()) })
	if err != nil {
		return nil, fmt.Errorf("tpm: attest: %w", err)
	}
	if a.eventLog != nil {
		if r.EventLog, err = a.readLog(ctx); err != nil {
			return nil, err
		}
	}
	r.Chain = a.chain
	value, err := detcbor.Encode(r)
	if err != nil {
		return nil, fmt.Errorf("tpm: encode: %w", err)
	}
	return cmw.NewRecord(MediaType, value, cmw.Evidence)
}

func (a *Attester) readLog(ctx context.Context) ([]byte, error) {
	log, err := a.eventLog(ctx)
	if err != nil {
		return nil, fmt.Errorf("tpm: event log: %w", err)
	}
	if len(log) == 0 || len(log) > maxEventLog {
		return nil, fmt.Errorf("tpm: event log has %d bytes, want 1 to %d: leave it out and quote fewer PCRs", len(log), maxEventLog)
	}
	return log, nil
}

// collect runs in one turn, so that nobody's commands come between.
func (a *Attester) collect(s *session, k *Key, binder []byte) (*report, error) {
	certified, err := s.certify(&k.key, &a.ak.key, binder)
	if err != nil {
		return nil, err
	}
	r := &report{
		AK: a.ak.public, Parent: a.ak.parentName, Key: k.public,
		Certify: certified.CertifyInfo.Bytes(), CertifySignature: tpm2.Marshal(certified.Signature),
	}
	for range quoteAttempts {
		if r.PCRs, err = s.readPCRs(a.selection, a.bank); err != nil {
			return nil, err
		}
		quoted, err := s.quote(&a.ak.key, a.selection, binder)
		if err != nil {
			return nil, err
		}
		r.Quote, r.QuoteSignature = quoted.Quoted.Bytes(), tpm2.Marshal(quoted.Signature)
		statement, err := parseStatement(r.Quote)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(statement.pcrDigest, pcrDigest(a.ak.area.schemeHash, r.PCRs)) {
			return r, nil
		}
	}
	return nil, ErrPCRsChange
}

// quoteAttempts is how often PCRs may change between the reading and the quote.
const quoteAttempts = 4

// certify has ak state that k lives in this TPM.
func (s *session) certify(k, ak *key, extraData []byte) (*tpm2.CertifyResponse, error) {
	object, err := s.load(k)
	if err != nil {
		return nil, err
	}
	signer, err := s.load(ak)
	if err != nil {
		return nil, err
	}
	return tpm2.Certify{
		ObjectHandle:   object,
		SignHandle:     signer,
		QualifyingData: tpm2.TPM2BData{Buffer: extraData},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(s)
}

// quote has ak state the PCRs.
func (s *session) quote(ak *key, selection tpm2.TPMLPCRSelection, extraData []byte) (*tpm2.QuoteResponse, error) {
	signer, err := s.load(ak)
	if err != nil {
		return nil, err
	}
	return tpm2.Quote{
		SignHandle:     signer,
		QualifyingData: tpm2.TPM2BData{Buffer: extraData},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      selection,
	}.Execute(s)
}

// readPCRs reads the selected PCRs, of which a TPM gives some at a time.
func (s *session) readPCRs(selection tpm2.TPMLPCRSelection, bank crypto.Hash) ([][]byte, error) {
	var values [][]byte
	left := slices.Clone(selection.PCRSelections[0].PCRSelect)
	for !allZero(left) {
		one := selection.PCRSelections[0]
		one.PCRSelect = left
		r, err := tpm2.PCRRead{
			PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{one}},
		}.Execute(s)
		if err != nil {
			return nil, err
		}
		if len(r.PCRValues.Digests) == 0 || len(r.PCRSelectionOut.PCRSelections) != 1 {
			return nil, fmt.Errorf("%w: it has no PCRs of %v", ErrUnsupported, bank)
		}
		for _, d := range r.PCRValues.Digests {
			values = append(values, d.Buffer)
		}
		if left, err = without(left, r.PCRSelectionOut.PCRSelections[0].PCRSelect); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// without takes the PCRs that were read out of a mask.
func without(mask, read []byte) ([]byte, error) {
	out := slices.Clone(mask)
	for i := range out {
		if i < len(read) {
			out[i] &^= read[i]
		}
	}
	if bytes.Equal(out, mask) {
		return nil, errors.New("the TPM reads none of the PCRs")
	}
	return out, nil
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }

// pcrDigest is the digest in a quote: with the hash of the signature, over the
// values one after another.
func pcrDigest(h crypto.Hash, values [][]byte) []byte {
	d := h.New()
	for _, v := range values {
		d.Write(v)
	}
	return d.Sum(nil)
}
