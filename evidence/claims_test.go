package evidence_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/internal/testca"
)

// silent is an Attester whose message says nothing.
type silent struct{}

func (silent) MediaTypes() []string { return []string{"text/plain"} }

func (silent) Attest(context.Context, attestation.Binding, []string) (*cmw.Message, error) {
	return cmw.NewRecord("text/plain", []byte("x"), 0)
}

func binding(t *testing.T, h crypto.Hash) attestation.Binding {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id, err := evidencetest.Identity(key)
	require.NoError(t, err)
	b, _, err := evidencetest.Attest(context.Background(), h, id, silent{})
	require.NoError(t, err)
	require.True(t, b.Valid())
	return b
}

// C-5, D-2: what Evidence carries is compared in its form, and every difference is
// reported.
func TestBound(t *testing.T) {
	t.Parallel()
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		b, other := binding(t, h), binding(t, h)
		data, otherData := b.ReportData(), other.ReportData()
		all := []error{evidence.ErrBinder, evidence.ErrKeyHash, evidence.ErrReportData, evidence.ErrForm, evidence.ErrKey}
		for name, c := range map[string]struct {
			claims evidence.Claims
			want   []error
		}{
			"both":             {evidence.Claims{Form: evidence.BinderAndKeyHash, Binder: b.Binder(), KeyHash: b.KeyHash()}, nil},
			"other binder":     {evidence.Claims{Form: evidence.BinderAndKeyHash, Binder: other.Binder(), KeyHash: b.KeyHash()}, all[:1]},
			"other key hash":   {evidence.Claims{Form: evidence.BinderAndKeyHash, Binder: b.Binder(), KeyHash: other.KeyHash()}, all[1:2]},
			"neither":          {evidence.Claims{Form: evidence.BinderAndKeyHash}, all[:2]},
			"swapped":          {evidence.Claims{Form: evidence.BinderAndKeyHash, Binder: b.KeyHash(), KeyHash: b.Binder()}, all[:2]},
			"prefix":           {evidence.Claims{Form: evidence.BinderAndKeyHash, Binder: b.Binder()[:31], KeyHash: b.KeyHash()}, all[:1]},
			"report data":      {evidence.Claims{Form: evidence.ReportData, ReportData: data[:]}, nil},
			"other data":       {evidence.Claims{Form: evidence.ReportData, ReportData: otherData[:]}, all[2:3]},
			"data cut":         {evidence.Claims{Form: evidence.ReportData, ReportData: data[:63]}, all[2:3]},
			"data missing":     {evidence.Claims{Form: evidence.ReportData, Binder: b.Binder(), KeyHash: b.KeyHash()}, all[2:3]},
			"certified":        {evidence.Claims{Form: evidence.CertifiedKey, Binder: b.Binder(), SPKI: b.SPKI()}, nil},
			"other certified":  {evidence.Claims{Form: evidence.CertifiedKey, Binder: b.Binder(), SPKI: other.SPKI()}, all[4:]},
			"hash certified":   {evidence.Claims{Form: evidence.CertifiedKey, Binder: b.Binder(), SPKI: b.KeyHash()}, all[4:]},
			"no binder, key":   {evidence.Claims{Form: evidence.CertifiedKey, KeyHash: b.KeyHash()}, []error{all[0], all[4]}},
			"zero form":        {evidence.Claims{Binder: b.Binder(), KeyHash: b.KeyHash(), ReportData: data[:]}, all[3:4]},
			"form from future": {evidence.Claims{Form: 9, Binder: b.Binder(), KeyHash: b.KeyHash(), ReportData: data[:]}, all[3:4]},
		} {
			err := c.claims.Bound(b)
			for _, e := range all {
				listed := false
				for _, w := range c.want {
					listed = listed || w == e
				}
				require.Equal(t, listed, errors.Is(err, e), "%s: %v", name, e)
			}
			require.Error(t, c.claims.Bound(attestation.Binding{}), "%s: the zero Binding matches nothing", name)
		}
	}
	require.Error(t, (&evidence.Claims{Form: evidence.BinderAndKeyHash, Binder: []byte{}, KeyHash: []byte{}}).Bound(attestation.Binding{}))
}

func TestMap(t *testing.T) {
	t.Parallel()
	c := &evidence.Claims{
		Platform: "p", Form: evidence.BinderAndKeyHash, Binder: []byte{0xb1}, KeyHash: []byte{0xb2}, ReportData: []byte{0xb3},
		Instance: []byte{1}, Vendor: []byte{2}, HardwareModel: []byte{3}, Debug: evidence.DebugDisabled,
		Software:     []evidence.Software{{Name: "s", Version: "1"}, {Name: "t"}},
		Measurements: []evidence.Measurement{{Name: "m", Version: "2", Algorithm: "sha-256", Digest: []byte{4}}, {Name: "n"}},
		Key:          evidence.KeyBornInside,
		Signer:       evidence.Signer{Serial: []byte{5}, KeyID: []byte{6}, NotAfter: time.Unix(0, 0)},
	}
	text, err := json.Marshal(c.Map())
	require.NoError(t, err)
	require.JSONEq(t, `{
		"platform": "p", "instance": "01", "vendor": "02", "hardware-model": "03",
		"debug": "disabled", "key": "born-inside",
		"software": [{"name": "s", "version": "1"}, {"name": "t"}],
		"measurements": [
			{"name": "m", "version": "2", "algorithm": "sha-256", "digest": "04"},
			{"name": "n", "algorithm": "", "digest": ""}],
		"signer-serial": "05", "signer-key-id": "06", "signer-not-after": "1970-01-01T00:00:00Z"}`, string(text))
	text, err = json.Marshal((&evidence.Claims{Platform: "p"}).Map())
	require.NoError(t, err)
	require.JSONEq(t, `{"platform": "p", "debug": "not-stated", "key": "not-stated"}`, string(text))
}

func TestStates(t *testing.T) {
	t.Parallel()
	for s, want := range map[evidence.DebugState]struct {
		name string
		off  bool
	}{
		evidence.DebugNotStated:                   {"not-stated", false},
		evidence.DebugEnabled:                     {"enabled", false},
		evidence.DebugDisabled:                    {"disabled", true},
		evidence.DebugDisabledSinceBoot:           {"disabled-since-boot", true},
		evidence.DebugDisabledPermanently:         {"disabled-permanently", true},
		evidence.DebugDisabledFullyAndPermanently: {"disabled-fully-and-permanently", true},
		evidence.DebugLeftToSoftware:              {"left-to-software", false},
		7:                                         {"not-stated", false},
	} {
		require.Equal(t, want.name, s.String())
		require.Equal(t, want.off, s.Off(), want.name)
	}
	for k, want := range map[evidence.KeyProvenance]string{
		evidence.KeyNotStated: "not-stated", evidence.KeyBornInside: "born-inside",
		evidence.KeyNamedBySoftware: "named-by-software", evidence.KeyExternal: "external", 9: "not-stated",
	} {
		require.Equal(t, want, k.String())
	}
	require.Equal(t, "report data", evidence.ReportData.String())
	require.Equal(t, "binder and key hash", evidence.BinderAndKeyHash.String())
	require.Equal(t, "binder and certified key", evidence.CertifiedKey.String())
	require.Equal(t, "binding form 0", evidence.BindingForm(0).String())
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := error(&evidence.Error{Reason: evidence.ErrChain, Step: "certificate chain", Err: cause})
	require.EqualError(t, err, "signer of the Evidence is not trusted: certificate chain: cause")
	require.ErrorIs(t, err, evidence.ErrChain)
	require.ErrorIs(t, err, cause)
	require.NotErrorIs(t, err, evidence.ErrFormat)
}

func TestCheckRoots(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, evidence.CheckRoots(nil), evidence.ErrRoots)
	require.ErrorIs(t, evidence.CheckRoots(x509.NewCertPool()), evidence.ErrRoots)
	ca, err := testca.New("roots", time.Now())
	require.NoError(t, err)
	require.NoError(t, evidence.CheckRoots(ca.Pool()))
}
