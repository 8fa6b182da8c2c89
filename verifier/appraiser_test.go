package verifier_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/evidencetest"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/internal/tlspair"
)

// B-14, C-4, C-5, D-1, D-2: Evidence that is signed, bound and good is accepted,
// for both hashes of TLS 1.3.
func TestAccepts(t *testing.T) {
	t.Parallel()
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
		t.Run(h.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, deviceOptions())
			r, err := exchange(t, h, l.id, simulated.NewAttester(l.device), appraiser(t, l.policy))
			require.NoError(t, err)
			require.Equal(t, attestation.TierAffirming, r.Tier())
			require.Equal(t, "test policy", r.Verifier())
			require.Equal(t, 24*time.Hour, r.Lifetime())
			require.Len(t, r.Binding().Binder(), h.Size())
			got := r.Appraisals()[0]
			require.Equal(t, attestation.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 2, Hardware: 2}, got.Vector)
			require.Equal(t, simulated.Platform, got.Environment)
			require.Equal(t, hex.EncodeToString(instance), got.Instance)
			require.Equal(t, "born-inside", got.Claims["key"])
			text, err := json.Marshal(r)
			require.NoError(t, err)
			require.NotContains(t, string(text), hex.EncodeToString(r.Binding().Binder()))
		})
	}
}

// TestLies: what the Attester lies about is what the rejection names, all of it
// and nothing else (I-1 to I-4, I-14).
func TestLies(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	for name, c := range map[string]struct {
		lies   []simulated.Lie
		id     *authenticator.Identity
		checks []string
		vector attestation.TrustVector
	}{
		"wrong nonce (C-5, I-3)": {
			[]simulated.Lie{simulated.WrongNonce}, l.id, []string{"binder"},
			attestation.TrustVector{InstanceIdentity: 99, Configuration: 2, Executables: 2, Hardware: 2},
		},
		"wrong key (D-2, I-4)": {
			[]simulated.Lie{simulated.WrongKey}, l.id, []string{"key hash"},
			attestation.TrustVector{InstanceIdentity: 99, Configuration: 2, Executables: 2, Hardware: 2},
		},
		"debug on": {
			[]simulated.Lie{simulated.DebugOn}, l.id, []string{"debug"},
			attestation.TrustVector{InstanceIdentity: 2, Configuration: 96, Executables: 2, Hardware: 2},
		},
		"old firmware": {
			[]simulated.Lie{simulated.OldFirmware}, l.id, []string{"measurement kernel", "software version firmware"},
			attestation.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 96, Hardware: 2},
		},
		"modified software": {
			[]simulated.Lie{simulated.ModifiedSoftware}, l.id, []string{"measurement kernel"},
			attestation.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 96, Hardware: 2},
		},
		"foreign key (D-5, I-2)": {
			[]simulated.Lie{simulated.ForeignKey}, identity(t, softwareKey(t)), []string{"key provenance"},
			attestation.TrustVector{InstanceIdentity: 2, Configuration: 2, Executables: 2, Hardware: 2, StorageOpaque: 96},
		},
		"tampered claims": {
			[]simulated.Lie{simulated.TamperedClaims}, l.id, []string{"signature"},
			attestation.TrustVector{InstanceIdentity: 99, Hardware: 99},
		},
		"everything": {
			[]simulated.Lie{simulated.WrongNonce, simulated.WrongKey, simulated.DebugOn, simulated.OldFirmware, simulated.ForeignKey},
			identity(t, softwareKey(t)),
			[]string{"binder", "key hash", "debug", "key provenance", "measurement kernel", "software version firmware"},
			attestation.TrustVector{InstanceIdentity: 99, Configuration: 96, Executables: 96, Hardware: 2, StorageOpaque: 96},
		},
		"nothing behind a bad signature is looked at": {
			[]simulated.Lie{simulated.WrongNonce, simulated.DebugOn, simulated.TamperedClaims}, l.id, []string{"signature"},
			attestation.TrustVector{InstanceIdentity: 99, Hardware: 99},
		},
	} {
		for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
			r, err := exchange(t, h, c.id, simulated.NewAttester(l.device, c.lies...), appraiser(t, l.policy))
			require.Nil(t, r, name)
			require.ErrorIs(t, err, attestation.ErrRejected, name)
			require.Equal(t, c.checks, names(err), name)
			var rejected *attestation.RejectedError
			require.ErrorAs(t, err, &rejected)
			require.Equal(t, c.vector, rejected.Appraisals[0].Vector, name)
			require.Equal(t, attestation.TierContraindicated, rejected.Appraisals[0].Status, name)
		}
	}
}

// TestTLS runs the path over crypto/tls (B-16) and replays Evidence of one request
// for the next (I-1) and of one connection on another (I-3).
func TestTLS(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	v := appraiser(t, l.policy)
	a := simulated.NewAttester(l.device)
	one, two := overTLS(t), overTLS(t)
	_, err := one.Exchange(context.Background(), l.id, a, v)
	require.NoError(t, err)

	replay := &replayer{Attester: a}
	_, err = one.Exchange(context.Background(), l.id, replay, v)
	require.NoError(t, err)
	for _, c := range []*evidencetest.Connection{one, two} {
		_, err = c.Exchange(context.Background(), l.id, replay, v)
		require.ErrorIs(t, err, evidence.ErrBinder)
		require.Equal(t, []string{"binder"}, names(err))
	}
}

// overTLS connects two sides over TLS 1.3.
func overTLS(t *testing.T) *evidencetest.Connection {
	t.Helper()
	ca, err := testca.New("tls", time.Now())
	require.NoError(t, err)
	cert, err := ca.Leaf(softwareKey(t), time.Now(), "attester.test")
	require.NoError(t, err)
	client, server := tlspair.Connect(t,
		&tls.Config{RootCAs: ca.Pool(), ServerName: "attester.test", MinVersion: tls.VersionTLS13},
		&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
	relying, err := authenticator.NewSession(client.ConnectionState(), authenticator.Client)
	require.NoError(t, err)
	attester, err := authenticator.NewSession(server.ConnectionState(), authenticator.Server)
	require.NoError(t, err)
	return &evidencetest.Connection{RelyingParty: relying, Attester: attester}
}

// replayer gives the first message again and again.
type replayer struct {
	attestation.Attester
	first *cmw.Message
}

func (r *replayer) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if r.first != nil {
		return r.first, nil
	}
	var err error
	r.first, err = r.Attester.Attest(ctx, b, accept)
	return r.first, err
}

// I-2: a good environment quotes the binder of another party's connection. Its
// Evidence names its own key, or that of the other party with its origin.
func TestRelay(t *testing.T) {
	t.Parallel()
	l := newLab(t, deviceOptions())
	attacker := identity(t, softwareKey(t))
	// The environment attests its own key; the attacker's authenticator carries
	// that Evidence.
	own := &replayer{Attester: simulated.NewAttester(l.device)}
	c, err := evidencetest.Connect(crypto.SHA256)
	require.NoError(t, err)
	_, err = c.Exchange(context.Background(), l.id, own, appraiser(t, l.policy))
	require.NoError(t, err)
	_, err = c.Exchange(context.Background(), attacker, own, appraiser(t, l.policy))
	require.Equal(t, []string{"binder", "key hash"}, names(err))
	// The environment names the attacker's key.
	_, err = exchange(t, crypto.SHA256, attacker, simulated.NewAttester(l.device, simulated.ForeignKey), appraiser(t, l.policy))
	require.Equal(t, []string{"key provenance"}, names(err))
}
