package sevsnp

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/fetch"
	"github.com/expat-go/expat/internal/tsm"
)

// kernel is a client whose attributes a test makes up.
func kernel(attributes map[string]func(*faketsm.ReportEntry) ([]byte, error)) configfsi.Client {
	sub := faketsm.ReportV7(0)
	sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
		if f := attributes[attr]; f != nil {
			return f(e)
		}
		return nil, os.ErrNotExist
	}
	return &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": sub}}
}

type entry = faketsm.ReportEntry

// TestCollect: a report that is not about the request goes nowhere.
func TestCollect(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	text := func(s string) func(*entry) ([]byte, error) {
		return func(*entry) ([]byte, error) { return []byte(s), nil }
	}
	good := func(e *entry) ([]byte, error) { return a.report(t, e.InAttrs["inblob"].Value), nil }
	broken := errors.New("EIO")
	type attributes = map[string]func(*entry) ([]byte, error)
	for name, c := range map[string]struct {
		attributes attributes
		want       error
	}{
		"good":            {attributes{"provider": text("sev_guest\n"), "outblob": good}, nil},
		"without newline": {attributes{"provider": text("sev_guest"), "outblob": good, "auxblob": text("")}, nil},
		"another":         {attributes{"provider": text("tdx_guest\n"), "outblob": good}, tsm.ErrProvider},
		"no provider":     {attributes{"outblob": good}, tsm.ErrCollect},
		"no report":       {attributes{"provider": text("sev_guest")}, tsm.ErrCollect},
		"empty":           {attributes{"provider": text("sev_guest"), "outblob": text("")}, tsm.ErrCollect},
		"io error":        {attributes{"provider": text("sev_guest"), "outblob": func(*entry) ([]byte, error) { return nil, broken }}, tsm.ErrCollect},
		"short":           {attributes{"provider": text("sev_guest"), "outblob": text("report")}, ErrCollect},
		"no report of it": {attributes{"provider": text("sev_guest"), "outblob": text(strings.Repeat("x", reportSize))}, ErrCollect},
		"other data":      {attributes{"provider": text("sev_guest"), "outblob": func(*entry) ([]byte, error) { return a.report(t, make([]byte, 64)), nil }}, ErrCollect},
		"bad table":       {attributes{"provider": text("sev_guest"), "outblob": good, "auxblob": text("x")}, ErrCertificates},
	} {
		at, err := NewAttester(AttesterOptions{Client: kernel(c.attributes)})
		require.NoError(t, err)
		_, value, err := attest(t, at)
		if c.want == nil {
			require.NoError(t, err, name)
			m, certs, err := parseMessage(value)
			require.NoError(t, err)
			require.Len(t, m.Report, reportSize)
			require.Empty(t, certs, name)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
	}
}

// TestCertificatesSent: those of the host go before those that were configured,
// and only those of the key that signed.
func TestCertificatesSent(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	configured := []*x509.Certificate{a.signer.Ark, a.signer.Asvk, a.signer.Ask, a.signer.Vlek, a.signer.Vcek}
	for name, c := range map[string]struct {
		aux    []byte
		known  []*x509.Certificate
		signer byte
		want   [][]byte
	}{
		"host's":        {a.table(t), configured, 0, a.chain()},
		"configured":    {nil, configured, 0, a.chain()},
		"of the cloud":  {nil, configured, 1 << 2, [][]byte{a.signer.Vlek.Raw, a.signer.Asvk.Raw, a.signer.Ark.Raw}},
		"leaf only":     {nil, configured[4:], 0, a.chain()[:1]},
		"nobody's":      {nil, configured[:3], 0, nil},
		"table without": {make([]byte, entrySize), configured[4:], 0, a.chain()[:1]},
	} {
		chip := *a
		chip.change = put(0x48, c.signer)
		at, err := NewAttester(AttesterOptions{Client: chip.client(t, c.aux), Certificates: c.known})
		require.NoError(t, err, name)
		_, value, err := attest(t, at)
		require.NoError(t, err, name)
		m, _, err := parseMessage(value)
		require.NoError(t, err, name)
		require.Equal(t, c.want, m.Certificates, name)
	}
}

func TestAttesterOptions(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	level := uint(4)
	_, err := NewAttester(AttesterOptions{Client: a.client(t, nil), VMPL: &level})
	require.ErrorIs(t, err, ErrOptions)
	_, err = NewAttester(AttesterOptions{Client: a.client(t, nil), Certificates: []*x509.Certificate{nil}})
	require.ErrorIs(t, err, ErrOptions)
	if _, err := os.Stat("/sys/kernel/config/tsm/report"); err != nil {
		_, err = NewAttester(AttesterOptions{})
		require.ErrorIs(t, err, tsm.ErrUnavailable)
	}
	level = 3
	asked := ""
	client := kernel(map[string]func(*entry) ([]byte, error){
		"provider": func(*entry) ([]byte, error) { return []byte(provider), nil },
		"outblob": func(e *entry) ([]byte, error) {
			asked = string(e.InAttrs["privlevel"].Value)
			return a.report(t, e.InAttrs["inblob"].Value), nil
		},
	})
	at, err := NewAttester(AttesterOptions{Client: client, VMPL: &level})
	require.NoError(t, err)
	_, _, err = attest(t, at)
	require.NoError(t, err)
	require.Equal(t, "3", asked)
	_, err = at.Attest(context.Background(), attestation.Binding{}, []string{"text/plain"})
	require.ErrorIs(t, err, attestation.ErrMediaType)
	_, err = at.Attest(context.Background(), attestation.Binding{}, at.MediaTypes())
	require.ErrorIs(t, err, attestation.ErrMisuse)
}

// TestTable: every way in which a host's table can be wrong.
func TestTable(t *testing.T) {
	t.Parallel()
	row := func(id byte, offset, length uint32) []byte {
		b := make([]byte, entrySize)
		b[0] = id
		binary.LittleEndian.PutUint32(b[16:], offset)
		binary.LittleEndian.PutUint32(b[20:], length)
		return b
	}
	end := make([]byte, entrySize)
	for name, c := range map[string]struct {
		table []byte
		want  int // certificates, -1 for an error
	}{
		"none":             {nil, 0},
		"only an end":      {end, 0},
		"one":              {bytes.Join([][]byte{row(1, 48, 3), end, []byte("abc")}, nil), 1},
		"to the last byte": {bytes.Join([][]byte{row(1, 48, 0), end}, nil), 1},
		"one byte too far": {bytes.Join([][]byte{row(1, 48, 1), end}, nil), -1},
		"sum of 32 bits":   {bytes.Join([][]byte{row(1, 0xffffffff, 49), end}, nil), -1},
		"no end":           {row(1, 0, 0), -1},
		"cut":              {row(1, 0, 0)[:23], -1},
		"twice":            {bytes.Join([][]byte{row(1, 0, 1), row(1, 1, 1), end}, nil), -1},
		"too many":         {bytes.Repeat(row(1, 0, 1), maxEntries+1), -1},
		"too large":        {make([]byte, maxTable+1), -1},
	} {
		got, err := parseTable(c.table)
		if c.want < 0 {
			require.ErrorIs(t, err, ErrCertificates, name)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, got, c.want, name)
	}
	many := bytes.Buffer{}
	for i := range maxEntries {
		many.Write(row(byte(i+1), 0, 1))
	}
	_, err := parseTable(append(many.Bytes(), end...))
	require.ErrorContains(t, err, "more than 32 entries")
}

// TestDirectory: certificates of a directory complete what the Evidence lacks.
func TestDirectory(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	dir := t.TempDir()
	var bundle []byte
	for _, c := range []*x509.Certificate{a.signer.Ask, a.signer.Asvk, a.signer.Ark} {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	_, err := LoadCertificates(dir)
	require.ErrorIs(t, err, ErrCertificates)
	write := func(name string, b []byte) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600)) }
	write("cert_chain.pem", bundle)
	write("vcek.der", a.signer.Vcek.Raw)
	write("vlek.cer", a.signer.Vlek.Raw)
	write("notes.txt", []byte("not read"))
	certs, err := LoadCertificates(dir)
	require.NoError(t, err)
	require.Len(t, certs, 5)
	p := a.policy()
	p.AllowVLEK = true
	x, err := New(Options{Policy: p, AcceptRevoked: true, Certificates: certs})
	require.NoError(t, err)
	for _, signer := range []byte{0, 1 << 2} {
		a.change = put(0x48, signer)
		_, err := x.Extract(context.Background(), MediaType, encoded(t, a.report(t, make([]byte, 64))), a.roots(), a.now)
		require.NoError(t, err)
	}
	a.change = put(0x180, 1)
	_, err = x.Extract(context.Background(), MediaType, encoded(t, a.report(t, make([]byte, 64))), a.roots(), a.now)
	step(t, err, evidence.ErrChain, "certificate chain", ErrNoCertificate)
	for name, b := range map[string][]byte{"x.pem": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "x.der": []byte("x"), "x.crt": make([]byte, maxFile+1)} {
		write(name, b)
		_, err = LoadCertificates(dir)
		require.ErrorIs(t, err, ErrCertificates, name)
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	_, err = LoadCertificates(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, ErrCertificates)
}

// service answers for AMD.
type service map[string][]byte

func (s service) RoundTrip(r *http.Request) (*http.Response, error) {
	b, ok := s[r.URL.Path]
	if !ok {
		return nil, errors.New("AMD has nothing at " + r.URL.Path)
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(b))}, nil
}

// TestFetch: with the option that says so, AMD is asked for what is missing; what
// it does not answer leaves no verdict.
func TestFetch(t *testing.T) {
	t.Parallel()
	a := newAMD(t)
	vcek := "/vcek/v1/Milan/" + strings.Repeat("c1", 64)
	const crl = "/vcek/v1/Milan/crl"
	list := a.list(t, a.signer.Ark, a.signer.Keys.Ark).Raw
	value := encoded(t, a.report(t, make([]byte, 64)))
	known := []*x509.Certificate{a.signer.Ask, a.signer.Ark}
	for name, c := range map[string]struct {
		service service
		change  func([]byte)
		good    bool
		verdict bool
	}{
		"good":        {service{vcek: a.signer.Vcek.Raw, crl: list}, nil, true, true},
		"no VCEK":     {service{crl: list}, nil, false, false},
		"bad VCEK":    {service{vcek: []byte("x"), crl: list}, nil, false, false},
		"no list":     {service{vcek: a.signer.Vcek.Raw}, nil, false, false},
		"bad list":    {service{vcek: a.signer.Vcek.Raw, crl: []byte("x")}, nil, false, false},
		"hidden chip": {service{vcek: a.signer.Vcek.Raw, crl: list}, func(r []byte) { clear(r[0x1a0:0x1e0]) }, false, true},
		"VLEK":        {service{vcek: a.signer.Vcek.Raw, crl: list}, put(0x48, 1<<2), false, true},
	} {
		x, err := New(Options{Policy: a.policy(), Certificates: known, FetchFromAMD: fetch.New(fetch.Options{Transport: c.service})})
		require.NoError(t, err, name)
		v := value
		if c.change != nil {
			a.change = c.change
			v = encoded(t, a.report(t, make([]byte, 64)))
			a.change = nil
		}
		_, err = x.Extract(context.Background(), MediaType, v, a.roots(), a.now)
		if c.good {
			require.NoError(t, err, name)
			continue
		}
		var e *evidence.Error
		require.Equal(t, c.verdict, errors.As(err, &e), "%s: %v", name, err)
		require.Error(t, err, name)
	}
}
