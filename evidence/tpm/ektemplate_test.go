package tpm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// makersEmulator starts a TPM for which swtpm's own tools made endorsement keys.
func makersEmulator(t testing.TB) *emulator {
	t.Helper()
	for _, tool := range []string{"swtpm", "swtpm_setup", "certtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is missing: apt-get install -y swtpm swtpm-tools gnutls-bin")
		}
	}
	dir, err := os.MkdirTemp("", "swtpm") // a socket's path must be short
	require.NoError(t, err)
	e := &emulator{dir: dir, path: filepath.Join(dir, "s")}
	t.Cleanup(func() {
		e.stop()
		os.RemoveAll(dir)
	})
	for name, text := range map[string]string{
		"localca.conf": "statedir = %[1]s\nsigningkey = %[1]s/signkey.pem\nissuercert = %[1]s/issuercert.pem\ncertserial = %[1]s/certserial\n",
		"options":      "--platform-manufacturer test\n--platform-version 1\n--platform-model %[1]s\n",
		"setup.conf": "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = %[1]s/localca.conf\n" +
			"create_certs_tool_options = %[1]s/options\nactive_pcr_banks = sha256\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, text, dir), 0o600))
	}
	out, err := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", dir, "--config", filepath.Join(dir, "setup.conf"), "--create-ek-cert").CombinedOutput()
	require.NoError(t, err, "%s", out)
	e.start(t)
	return e
}

// TestMakersEKs: the endorsement keys that a maker's tools left, RSA 2048 (L-1) and
// ECC P-384 (H-3), are found in their places and open credentials.
func TestMakersEKs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tpm := makersEmulator(t).open(t)
	ak, err := tpm.CreateAK(ctx, KeyOptions{})
	require.NoError(t, err)
	first, err := tpm.EndorsementKey(ctx)
	require.NoError(t, err)
	require.Equal(t, ekPlaces[0], first.place, "where there are several, RSA goes first")
	for _, place := range []ekPlace{ekPlaces[0], ekPlaces[2]} {
		for _, persistent := range []bool{true, false} {
			if !persistent {
				place.handle = 0x810100ff // nothing is there: the key is made of the seed
			}
			ek, err := run(ctx, tpm, func(s *session) (*EK, error) {
				cert, err := s.readCertificate(place.index)
				if err != nil {
					return nil, err
				}
				require.NotNil(t, cert)
				return s.endorsementKey(place, cert)
			})
			require.NoError(t, err)
			blob, encrypted := credential(t, ek, ak.Name(), []byte("secret"))
			got, err := tpm.ActivateCredential(ctx, ek, ak, blob, encrypted)
			require.NoError(t, err)
			require.Equal(t, "secret", string(got))
			_, err = tpm.ActivateCredential(ctx, ek, ak, blob, encrypted[1:])
			require.Error(t, err)
		}
	}
}
