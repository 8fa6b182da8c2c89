package tpm

import (
	"bytes"
	"context"
	"crypto"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/verifier"
)

// attesterFunc shows what it pleases.
type attesterFunc func(context.Context, attestation.Binding) (*cmw.Message, error)

func (attesterFunc) MediaTypes() []string { return []string{MediaType} }

func (f attesterFunc) Attest(ctx context.Context, b attestation.Binding, _ []string) (*cmw.Message, error) {
	return f(ctx, b)
}

// shows is an attacker who has real devices and builds the Evidence by hand.
func shows(t *testing.T, build func(b attestation.Binding) *report) attesterFunc {
	return func(_ context.Context, b attestation.Binding) (*cmw.Message, error) {
		return cmw.NewRecord(MediaType, marshal(t, build(b)), cmw.Evidence)
	}
}

// collect has a device attest any of its keys for any binder.
func (d *device) collect(t testing.TB, k *Key, binder []byte) *report {
	t.Helper()
	r, err := run(context.Background(), d.tpm, func(s *session) (*report, error) { return d.attester.collect(s, k, binder) })
	require.NoError(t, err)
	r.Chain = d.attester.chain
	return r
}

func judge(t *testing.T, v attestation.Verifier, id *authenticator.Identity, a attestation.Attester) error {
	t.Helper()
	c, err := evidencetest.Connect(crypto.SHA256)
	require.NoError(t, err)
	_, err = c.Exchange(context.Background(), id, a, v)
	return err
}

// weakKey is a TLS key, or an attestation key, of other attributes.
func (d *device) weakKey(t testing.TB, restricted bool, change func(*tpm2.TPMAObject)) *key {
	t.Helper()
	template, err := keyTemplate(ECDSAP256, restricted)
	require.NoError(t, err)
	change(&template.ObjectAttributes)
	template.ObjectAttributes.NoDA = true
	hierarchy := tpm2.TPMRHOwner
	if restricted {
		hierarchy = tpm2.TPMRHEndorsement
	}
	k, err := run(context.Background(), d.tpm, func(s *session) (*key, error) {
		s.evict(0)
		parent, err := s.parent(hierarchy)
		if err != nil {
			return nil, err
		}
		defer s.flush(parent.ObjectHandle)
		made, err := tpm2.Create{ParentHandle: authorized(parent.ObjectHandle, parent.Name, nil), InPublic: tpm2.New2B(template)}.Execute(s)
		if err != nil {
			return nil, err
		}
		return newKey(d.tpm, hierarchy, nil, made.OutPublic.Bytes(), made.OutPrivate.Buffer, parent.Name.Buffer)
	})
	require.NoError(t, err)
	return k
}

// I-1, I-2, I-4, I-14: attackers with real TPMs. Each is refused for its own reason.
func TestAttackers(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good, other := newDevice(t, ca, ECDSAP256, ECDSAP256), newDevice(t, ca, ECDSAP256, ECDSAP256)
	v := newVerifier(t, testPolicy(t, good))
	require.NoError(t, judge(t, v, good.id, good.attester))

	outside := softKey(t)
	movable := &Key{*good.weakKey(t, false, func(a *tpm2.TPMAObject) { a.FixedTPM, a.FixedParent = false, false })}
	loose := &AK{*good.weakKey(t, true, func(a *tpm2.TPMAObject) { a.Restricted = false })}
	unrestricted := *good
	unrestricted.ak = loose
	unrestricted.chain = append(good.chain[:0:0], ca.issue(t, ca.template(loose.Name()), loose.Public()))
	unrestricted.attester = unrestricted.newAttester(t)
	foreign := *good
	foreign.chain = append(good.chain[:0:0], newAuthority(t).issue(t, ca.template(good.ak.Name()), good.ak.Public()))
	foreign.attester = foreign.newAttester(t)
	fewer := *good
	fewer.attester = good.newAttester(t)
	fewer.attester.selection.PCRSelections = []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: []byte{1, 0, 0}}}
	another := bytes.Repeat([]byte{1}, 32)

	for name, c := range map[string]struct {
		id    *authenticator.Identity
		build func(b attestation.Binding) *report
		want  error
	}{
		"another binder": {good.id, func(attestation.Binding) *report { return good.collect(t, good.key, another) }, evidence.ErrBinder},
		"quote for another binder": {good.id, func(b attestation.Binding) *report {
			r, old := good.collect(t, good.key, b.Binder()), good.collect(t, good.key, another)
			r.Quote, r.QuoteSignature = old.Quote, old.QuoteSignature
			return r
		}, ErrMixed},
		"certification for another binder": {good.id, func(b attestation.Binding) *report {
			r, old := good.collect(t, good.key, b.Binder()), good.collect(t, good.key, another)
			r.Certify, r.CertifySignature = old.Certify, old.CertifySignature
			return r
		}, ErrMixed},
		"quote over other PCRs": {good.id, func(b attestation.Binding) *report { return fewer.collect(t, good.key, b.Binder()) },
			&verifier.CheckError{Check: verifier.CheckMeasurement, Subject: "pcr:sha256:7"}},
		"values of other PCRs": {good.id, func(b attestation.Binding) *report {
			r := good.collect(t, good.key, b.Binder())
			r.PCRs = fewer.collect(t, good.key, b.Binder()).PCRs
			return r
		}, ErrPCRSelection},
		"attestation key not restricted": {good.id, func(b attestation.Binding) *report { return unrestricted.collect(t, good.key, b.Binder()) },
			ErrNotRestricted},
		"no chain": {good.id, func(b attestation.Binding) *report {
			r := good.collect(t, good.key, b.Binder())
			r.Chain = [][]byte{}
			return r
		}, ErrNoCertificate},
		"foreign chain": {good.id, func(b attestation.Binding) *report { return foreign.collect(t, good.key, b.Binder()) },
			&verifier.CheckError{Check: verifier.CheckChain}},
		"TLS key outside": {identity(t, outside), func(b attestation.Binding) *report { return good.collect(t, good.key, b.Binder()) },
			evidence.ErrKey},
		"TLS key outside, named by hand": {identity(t, outside), func(b attestation.Binding) *report {
			r := good.collect(t, good.key, b.Binder())
			r.Key = tpm2.Marshal(softArea(t, outside.Public(), ECDSAP256, false))
			return r
		}, ErrName},
		"importable key": {identity(t, movable), func(b attestation.Binding) *report { return good.collect(t, movable, b.Binder()) },
			&verifier.CheckError{Check: verifier.CheckKeyProvenance}},
		"quote of another device": {good.id, func(b attestation.Binding) *report {
			r, o := good.collect(t, good.key, b.Binder()), other.collect(t, other.key, b.Binder())
			r.Quote, r.QuoteSignature, r.PCRs = o.Quote, o.QuoteSignature, o.PCRs
			return r
		}, &verifier.CheckError{Check: verifier.CheckSignature}},
		"certification of another device": {good.id, func(b attestation.Binding) *report {
			r, o := good.collect(t, good.key, b.Binder()), other.collect(t, other.key, b.Binder())
			r.Certify, r.CertifySignature, r.Key = o.Certify, o.CertifySignature, o.Key
			return r
		}, &verifier.CheckError{Check: verifier.CheckSignature}},
		"attestation key of another device": {good.id, func(b attestation.Binding) *report {
			r, o := good.collect(t, good.key, b.Binder()), other.collect(t, other.key, b.Binder())
			r.AK, r.Chain, r.Parent = o.AK, o.Chain, o.Parent
			return r
		}, &verifier.CheckError{Check: verifier.CheckSignature}},
		"whole Evidence of another device": {good.id, func(b attestation.Binding) *report { return other.collect(t, other.key, b.Binder()) },
			evidence.ErrKey},
	} {
		t.Run(name, func(t *testing.T) {
			err := judge(t, v, c.id, shows(t, c.build))
			require.Error(t, err)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// TestChangedBytes: no byte of Evidence can be changed, and none can be missing.
func TestChangedBytes(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	_, value := newDevice(t, ca, ECDSAP256, ECDSAP256).attest(t)
	_, err := extract(ca, value)
	require.NoError(t, err)
	for i := range value {
		for _, bit := range []byte{0x01, 0x80} {
			changed := bytes.Clone(value)
			changed[i] ^= bit
			claims, err := extract(ca, changed)
			require.Error(t, err, "byte %d", i)
			require.Nil(t, claims)
		}
		_, err := extract(ca, value[:i])
		refused(t, err, evidence.ErrFormat, "CBOR", nil)
	}
	_, err = extract(ca, append(bytes.Clone(value), 0))
	refused(t, err, evidence.ErrFormat, "CBOR", nil)
}

func TestAttestErrors(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	v := newVerifier(t, testPolicy(t, d))
	require.ErrorIs(t, judge(t, v, identity(t, softKey(t)), d.attester), ErrKeyNotHere)
	_, err := d.attester.Attest(context.Background(), attestation.Binding{}, []string{"text/plain"})
	require.ErrorIs(t, err, attestation.ErrMediaType)
	_, err = d.attester.Attest(context.Background(), attestation.Binding{}, []string{MediaType})
	require.ErrorIs(t, err, ErrKeyNotHere)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = d.attester.Attest(ctx, attestation.Binding{}, []string{MediaType})
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewAttester(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	d, other := newDevice(t, ca, ECDSAP256, ECDSAP256), newDevice(t, ca, ECDSAP256, ECDSAP256)
	for name, change := range map[string]func(*AttesterOptions){
		"no AK":    func(o *AttesterOptions) { o.AK = nil },
		"no chain": func(o *AttesterOptions) { o.Chain = nil },
		"no keys":  func(o *AttesterOptions) { o.Keys = nil },
		"nil key":  func(o *AttesterOptions) { o.Keys = []*Key{nil} },
		"chain too long": func(o *AttesterOptions) {
			o.Chain = append(o.Chain, o.Chain[0], o.Chain[0], o.Chain[0], o.Chain[0], o.Chain[0])
		},
		"certificate of another key": func(o *AttesterOptions) { o.Chain = other.chain },
		"key of another TPM":         func(o *AttesterOptions) { o.Keys = []*Key{d.key, other.key} },
		"no PCRs":                    func(o *AttesterOptions) { o.PCRs.PCRs = nil },
		"PCR 24":                     func(o *AttesterOptions) { o.PCRs.PCRs = []int{24} },
		"PCR -1":                     func(o *AttesterOptions) { o.PCRs.PCRs = []int{-1} },
		"SHA-1":                      func(o *AttesterOptions) { o.PCRs.Bank = crypto.SHA1 },
	} {
		o := AttesterOptions{AK: d.ak, Chain: d.chain[:1:1], Keys: []*Key{d.key}, PCRs: Selection{PCRs: []int{23}}}
		_, err := NewAttester(o)
		require.NoError(t, err)
		change(&o)
		_, err = NewAttester(o)
		require.ErrorIs(t, err, ErrOptions, name)
	}
}
