package enroll

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/tpm"
)

// B-19, D-5: from a TPM fresh from its maker to Evidence that a relying party trusts.
func TestEnrol(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := newMaker(t)
	device := m.build(t)
	ca := newCA(t, m)
	tlsCA, err := NewAuthority("TLS CA", time.Now())
	require.NoError(t, err)
	for _, algorithm := range []tpm.Algorithm{tpm.ECDSAP256, tpm.RSA2048} {
		ak, err := device.CreateAK(ctx, tpm.KeyOptions{Algorithm: algorithm})
		require.NoError(t, err)
		chain, err := Run(ctx, device, ak, ca)
		require.NoError(t, err)
		key, err := device.CreateKey(ctx, tpm.KeyOptions{Algorithm: algorithm})
		require.NoError(t, err)
		request, err := NewKeyRequest(ctx, device, ak, chain[0], key)
		require.NoError(t, err)
		certs, err := ca.IssueTLS(tlsCA, request, time.Hour, "device.test", "192.0.2.1")
		require.NoError(t, err)
		require.Equal(t, []string{"device.test"}, certs[0].DNSNames)
		_, err = certs[0].Verify(x509.VerifyOptions{Roots: tlsCA.Pool(), DNSName: "192.0.2.1"})
		require.NoError(t, err)

		id, err := authenticator.NewIdentity(tls.Certificate{
			Certificate: [][]byte{certs[0].Raw}, PrivateKey: key, Leaf: certs[0],
		})
		require.NoError(t, err)
		attester, err := tpm.NewAttester(tpm.AttesterOptions{
			AK: ak, Chain: chain[:1], Keys: []*tpm.Key{key}, PCRs: tpm.Selection{PCRs: []int{0, 7}},
		})
		require.NoError(t, err)
		b, message, err := evidencetest.Attest(ctx, crypto.SHA384, id, attester)
		require.NoError(t, err)
		claims, err := tpm.Extractor{}.Extract(ctx, tpm.MediaType, message.Leaves()[0].Value, ca.options.Authority.Pool(), time.Now())
		require.NoError(t, err)
		require.NoError(t, claims.Bound(b))
		require.Equal(t, evidence.KeyBornInside, claims.Key)
		require.Equal(t, "id:00001014", string(claims.Vendor))
		require.Equal(t, "swtpm", string(claims.HardwareModel))
		require.Len(t, claims.Instance, 32)

		// This maker's TPMs have one PCR bank.
		attester, err = tpm.NewAttester(tpm.AttesterOptions{
			AK: ak, Chain: chain, Keys: []*tpm.Key{key}, PCRs: tpm.Selection{Bank: crypto.SHA512, PCRs: []int{0, 7}},
		})
		require.NoError(t, err)
		_, _, err = evidencetest.Attest(ctx, crypto.SHA256, id, attester)
		require.ErrorIs(t, err, tpm.ErrUnsupported)
	}
}
