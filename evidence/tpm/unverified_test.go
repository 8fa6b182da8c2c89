package tpm

import (
	"bytes"
	"crypto/ecdsa"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/evidence"
)

// TestParseUnverified reads Evidence that a device once gave, and a forgery of it.
func TestParseUnverified(t *testing.T) {
	t.Parallel()
	u, err := ParseUnverified(goldenEvidence)
	require.NoError(t, err)
	p, err := parse(goldenEvidence)
	require.NoError(t, err)

	require.Equal(t, []string{"fixedTPM", "fixedParent", "sensitiveDataOrigin", "userWithAuth", "noDA", "restricted", "sign"}, u.AK.Attributes)
	require.Equal(t, p.ak.name, u.AK.Name)
	require.Equal(t, "ECDSA with SHA-256", u.AK.Scheme)
	require.IsType(t, new(ecdsa.PublicKey), u.AK.Public)
	require.Equal(t, u.Chain[0].RawSubjectPublicKeyInfo, u.AK.SPKI)
	require.NotContains(t, u.Key.Attributes, "restricted")
	require.Equal(t, "ECDSA with SHA-256", u.Key.Scheme)
	require.Equal(t, p.Parent, u.AKParent)

	require.Equal(t, "certification", u.Certification.Type)
	require.Equal(t, u.Key.Name, u.Certification.CertifiedName)
	require.Empty(t, u.Certification.Selection)
	require.Equal(t, "quote", u.Quote.Type)
	require.Empty(t, u.Quote.CertifiedName)
	require.Equal(t, signerName(u.AKParent, u.AK.Name), u.Quote.Signer)
	require.Equal(t, u.Certification.ExtraData, u.Quote.ExtraData)
	require.Equal(t, "SHA-256", u.Quote.Bank)
	require.Equal(t, testPCRs.PCRs, u.Quote.Selection)
	require.Equal(t, pcrDigest(p.ak.schemeHash, u.PCRs), u.Quote.PCRDigest)
	require.NotZero(t, u.Quote.Clock)
	require.True(t, u.Quote.Safe)
	require.Equal(t, "ECDSA with SHA-256", u.Quote.Signature)
	require.NotEmpty(t, u.Quote.Firmware)

	require.Len(t, u.EventLog.Events, len(p.log.events))
	for i, e := range u.EventLog.Events {
		require.Equal(t, p.log.events[i].pcr, e.PCR)
		require.Len(t, e.Digests["SHA-256"], 32)
	}

	r := *p.report
	r.Quote = bytes.Clone(r.Quote)
	r.Quote[len(r.Quote)-1] ^= 1 // the digest of the PCRs: nobody looks
	_, err = ParseUnverified(marshal(t, &r))
	require.NoError(t, err)
	r.Quote[0] ^= 1
	_, err = ParseUnverified(marshal(t, &r))
	require.ErrorIs(t, err, evidence.ErrFormat)
	require.ErrorIs(t, err, ErrMagic)
	require.Equal(t, "null", schemeName(tpm2.TPMAlgNull, 0))
	require.Equal(t, "RSAPSS with SHA-384", schemeName(tpm2.TPMAlgRSAPSS, hashes[tpm2.TPMAlgSHA384]))
}
