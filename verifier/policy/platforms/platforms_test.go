package platforms_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	snptest "github.com/google/go-sev-guest/verify/testdata"
	tdxtest "github.com/google/go-tdx-guest/testing/testdata"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/evidence/tdx"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/internal/detcbor"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/policy/platforms"
)

var (
	digest   = strings.Repeat("4b", 48)
	register = strings.Repeat("5c", 48)
)

func text(platform, section string) string {
	return fmt.Sprintf(`version: 1
name: test
environments:
  - platform: %s
    roots: [{vendor: %s}]
    measurements: {launch: [%q]}
    any_instance: true
    allow_key_named_by_software: true
    %s:
%s
`, platform, map[string]string{"sevsnp": "amd", "tdx": "intel"}[platform], digest, platform, section)
}

// files is a directory with what sections name.
func files(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), NextUpdate: time.Now().Add(time.Hour)}, template, key)
	require.NoError(t, err)
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	require.NoError(t, os.Mkdir(filepath.Join(dir, "collateral"), 0o700))
	for name, content := range map[string][]byte{
		"cert.der": cert, "cert.pem": inPEM, "list.crl": list, "list.pem": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list}), "junk": []byte("junk"),
		"collateral/tcb-info.json": []byte("{}"), "collateral/qe-identity.json": []byte("{}"), "collateral/pck.crl": list, "collateral/root.crl": list,
		"collateral/tcb-signing.pem": append(inPEM, inPEM...),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}

func parse(dir, text string) (*policy.Policy, []string) {
	p, err := policy.Parse(context.Background(), []byte(text), policy.Options{Platforms: platforms.All(), Name: filepath.Join(dir, "p.yaml")})
	var out []string
	for _, e := range policy.Errors(err) {
		out = append(out, strings.ReplaceAll(e.Error(), dir+string(filepath.Separator), ""))
	}
	return p, out
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	dir := files(t)
	for _, c := range []struct{ platform, section, mediaType string }{
		{"sevsnp", "      {accept_vulnerable_firmware: true, accept_revoked: true}", sevsnp.MediaType},
		{"sevsnp", "      {min_tcb: {Milan: {bootloader: 1, tee: 0, snp: 2, microcode: 3}}, fetch_from_amd: true}", sevsnp.MediaType},
		{"sevsnp", fmt.Sprintf(`      min_tcb: {Genoa: {bootloader: 255, tee: 0, snp: 2, microcode: 3}}
      accept_provisional_firmware: true
      min_guest_svn: 4294967295
      vmpl: 3
      allow_smt: true
      allow_migration_agent: true
      allow_cxl: true
      require_single_socket: true
      require_ciphertext_hiding: true
      require_alias_check: true
      allow_vlek: true
      host_data: [%q]
      id_key_digests: [%q]
      author_key_digests: [%q]
      family_ids: [%q]
      image_ids: [%q]
      certificates: [{file: cert.der}, {file: cert.pem}]
      revocation_lists: [{file: list.crl}, {file: list.pem}]`, digest[:64], digest, digest, digest[:32], digest[:32]), sevsnp.MediaType},
		{"tdx", "      {fetch_from_intel: true}", tdx.MediaType},
		{"tdx", fmt.Sprintf(`      min_tcb: %q
      allow_sept_ve: true
      allow_migration: true
      allow_perfmon: true
      mrseam: [%q]
      mrconfigids: [%q]
      mrowners: [%q]
      mrownerconfigs: [%q]
      service_tds: [%q]
      accept_unknown_tcb: true`, digest[:32], register, register, register, register, register), tdx.MediaType},
	} {
		p, errs := parse(dir, text(c.platform, c.section))
		require.Empty(t, errs)
		require.Equal(t, []string{c.mediaType}, p.MediaTypes())
	}
	p, errs := parse(dir, strings.Replace(strings.Replace(text("tpm", "      {from_log: [0, 15]}"), "vendor: ", "file: cert.pem", 1),
		"allow_key_named_by_software", "allow_debug_left_to_software", 1))
	require.Empty(t, errs)
	require.Equal(t, []string{tpm.MediaType}, p.MediaTypes())
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := files(t)
	const min = "min_tcb: {Milan: {bootloader: 1, tee: 0, snp: 2, microcode: 3}}, "
	for _, c := range []struct{ platform, section, want string }{
		{"sevsnp", "      {fetch_from_amd: true}", "p.yaml:10:7: environments[0].sevsnp.min_tcb: exactly one of min_tcb and accept_vulnerable_firmware must be given; write the lowest good levels of each product line"},
		{"sevsnp", "      {" + min + "fetch_from_amd: true, accept_vulnerable_firmware: true}", "p.yaml:10:17: environments[0].sevsnp.min_tcb: exactly one of min_tcb and accept_vulnerable_firmware must be given; write the lowest good levels of each product line"},
		{"sevsnp", "      {" + min + "allow_smt: true}", "p.yaml:10:7: environments[0].sevsnp.revocation_lists: it is missing; list them, or write fetch_from_amd: true, or accept_revoked: true to look at none"},
		{"sevsnp", "      {" + min + "accept_revoked: true, revocation_lists: [{file: list.crl}]}", "p.yaml:10:89: environments[0].sevsnp.accept_revoked: it contradicts revocation_lists; keep one of the two"},
		{"sevsnp", "      {accept_revoked: true, min_tcb: {Milan: {bootloader: 256, tee: 0, snp: 2, microcode: 3}}}", "p.yaml:10:60: environments[0].sevsnp.min_tcb.Milan.bootloader: it is \"256\"; write a number of 0 to 255"},
		{"sevsnp", "      {accept_revoked: true, min_tcb: {Milan: {tee: 0, snp: 2, microcode: 3}}}", "p.yaml:10:47: environments[0].sevsnp.min_tcb.Milan.bootloader: it is missing; write the lowest good level, 0 to 255"},
		{"sevsnp", "      {accept_revoked: true, min_tcb: {Turin: {tee: 0}}}", "p.yaml:10:40: environments[0].sevsnp.min_tcb.Turin: there is no such field; the fields here are Genoa, Milan"},
		{"sevsnp", "      {" + min + "accept_revoked: true, vmpl: 4}", "p.yaml:10:101: environments[0].sevsnp.vmpl: it is \"4\"; write a number of 0 to 3"},
		{"sevsnp", "      {" + min + "accept_revoked: true, host_data: [\"00\"]}", "p.yaml:10:107: environments[0].sevsnp.host_data[0]: it has 1 bytes; write 32 bytes in hex"},
		{"sevsnp", "      {" + min + "accept_revoked: true, certificates: [{file: junk}]}", "p.yaml:10:117: environments[0].sevsnp.certificates[0].file: it holds no certificate: x509: malformed certificate; name a file of certificates in PEM or DER"},
		{"sevsnp", "      {" + min + "accept_revoked: true, certificates: [{fil: junk}]}", "p.yaml:10:110: environments[0].sevsnp.certificates[0].file: it is missing; name a file"},
		{"sevsnp", "      {" + min + "revocation_lists: [{file: junk}]}", "p.yaml:10:99: environments[0].sevsnp.revocation_lists[0].file: it holds no revocation list: x509: malformed crl; name a file of revocation lists in PEM or DER"},
		{"sevsnp", "      {" + min + "revocation_lists: [{fil: junk}]}", "p.yaml:10:92: environments[0].sevsnp.revocation_lists[0].file: it is missing; name a file"},
		{"tdx", "      {min_tcb: \"00\"}", "p.yaml:10:17: environments[0].tdx.min_tcb: it has 1 bytes; write 16 bytes in hex"},
		{"tdx", "      {collateral: [{dirr: x}]}", "p.yaml:10:21: environments[0].tdx.collateral[0].dir: it is missing; name a directory of collateral"},
		{"tdx", "      {collateral: [{dir: none}]}", "p.yaml:10:27: environments[0].tdx.collateral[0].dir: the file cannot be read: stat none/pck.crl: no such file or directory; name a file, from the directory of the policy"},
		{"tdx", "      {collateral: [{dir: collateral}]}", "p.yaml:10:7: environments[0].tdx: tdx: options are not usable: "},
	} {
		p, errs := parse(dir, text(c.platform, c.section))
		require.Nil(t, p)
		require.NotEmpty(t, errs, c.section)
		found := false
		for _, e := range errs {
			found = found || e == c.want || strings.HasSuffix(c.want, ": ") && strings.HasPrefix(e, c.want)
		}
		assert.True(t, found, "%s\n%s\nwant %s", c.section, strings.Join(errs, "\n"), c.want)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "collateral", "tcb-signing.pem"), []byte("x"), 0o600))
	_, errs := parse(dir, text("tdx", "      {collateral: [{dir: collateral}]}"))
	require.Equal(t, []string{"p.yaml:10:27: environments[0].tdx.collateral[0].dir: its tcb-signing.pem is not two certificates in PEM, the signer's and then the root; fetch it again"}, errs)
}

// What is not Evidence of the platform teaches nothing.
func TestLearnRefuses(t *testing.T) {
	t.Parallel()
	types := map[string]string{"simulated": simulated.MediaType, "tpm": tpm.MediaType, "sevsnp": sevsnp.MediaType, "tdx": tdx.MediaType}
	for _, p := range platforms.All() {
		require.Equal(t, []string{types[p.Name]}, p.MediaTypes)
		roots := sevsnp.AMDRoots()
		if p.VendorRoots != nil {
			roots = p.VendorRoots()
		}
		_, _, err := p.Learn(context.Background(), p.MediaTypes[0], []byte("x"), roots, time.Now())
		require.Error(t, err, p.Name)
	}
}

// The levels of real firmware become the floor of a draft, and nothing weak is on.
func TestLearn(t *testing.T) {
	t.Parallel()
	snp, err := detcbor.Encode(map[int]any{1: snptest.AttestationBytes[:0x4a0], 2: [][]byte{snptest.VcekBytes}})
	require.NoError(t, err)
	quote, err := detcbor.Encode(map[int]any{1: tdx.TrimQuote(tdxtest.RawQuote)})
	require.NoError(t, err)
	for _, c := range []struct {
		mediaType string
		value     []byte
		at        time.Time
		want      string
	}{
		{sevsnp.MediaType, snp, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), "min_tcb:  # the level that was seen"},
		{tdx.MediaType, quote, time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC), "min_tcb: \"03000400000000000000000000000000\"  # the level that was seen"},
	} {
		m, err := cmw.NewRecord(c.mediaType, c.value, cmw.Evidence)
		require.NoError(t, err)
		d, err := policy.Learn(context.Background(), []policy.LearnInput{{Source: "real", Message: m}},
			policy.LearnOptions{Name: "x", Platforms: platforms.All(), Now: func() time.Time { return c.at }})
		require.NoError(t, err)
		text, err := d.Marshal()
		require.NoError(t, err)
		require.Contains(t, string(text), c.want)
		require.NotContains(t, string(text), "255", "the floor that finds the level out is no finding")
		_, errs := parse(t.TempDir(), string(text))
		require.Len(t, errs, 1, "%s\n%s", text, strings.Join(errs, "\n"))
		_, errs = parse(t.TempDir(), strings.Replace(string(text), "draft: true", "draft: false", 1))
		require.Empty(t, errs)
	}
}
