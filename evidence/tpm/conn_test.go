package tpm

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/internal/testca"
	"github.com/expat-go/expat/verifier"
)

// referenceValues reads the PCRs as an operator would, from a machine that is known
// to be good.
func referenceValues(t testing.TB, d *device) map[string][][]byte {
	t.Helper()
	_, value := d.attest(t)
	claims, err := extract(d.ca, value)
	require.NoError(t, err)
	values := make(map[string][][]byte)
	for _, m := range claims.Measurements {
		values[m.Name] = [][]byte{m.Digest}
	}
	return values
}

func testPolicy(t testing.TB, d *device) verifier.Policy {
	t.Helper()
	return verifier.Policy{
		Name: "tpm", Roots: d.ca.roots(), Measurements: referenceValues(t, d),
		MinVersions: map[string]string{Firmware: "1.0"}, Instances: [][]byte{testInstance},
		AllowDebugLeftToSoftware: true,
	}
}

func newVerifier(t testing.TB, p verifier.Policy) attestation.Verifier {
	t.Helper()
	v, err := verifier.New(p, Extractor{})
	require.NoError(t, err)
	return v
}

// server listens with a TLS key that is in the TPM, and echoes.
func server(t testing.TB, d *device) (address string, client *expat.Config) {
	t.Helper()
	ca, err := testca.New("names", time.Now())
	require.NoError(t, err)
	cert, err := ca.Leaf(d.key, time.Now(), "server.test")
	require.NoError(t, err)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := expat.NewListener(tcp, &expat.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Attester: d.attester,
	})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return tcp.Addr().String(), &expat.Config{
		TLS:      &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test"},
		Verifier: newVerifier(t, testPolicy(t, d)),
	}
}

// TestConnections: one TPM signs, certifies and quotes for 50 connections at once,
// and each gets the Evidence that is its own.
func TestConnections(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP256)
	address, config := server(t, d)
	const connections = 50
	errs := make(chan error, connections)
	for range connections {
		go func() { errs <- talk(t.Context(), address, config) }()
	}
	for range connections {
		require.NoError(t, <-errs)
	}
}

func talk(ctx context.Context, address string, config *expat.Config) error {
	c, err := expat.Dial(ctx, "tcp", address, config)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 5))
	return err
}

func TestPeer(t *testing.T) {
	t.Parallel()
	d := newDevice(t, newAuthority(t), ECDSAP256, ECDSAP384)
	address, config := server(t, d)
	c, err := expat.Dial(context.Background(), "tcp", address, config)
	require.NoError(t, err)
	defer c.Close()
	appraisal := c.Peer().Appraisals()[0]
	require.Equal(t, Platform, appraisal.Environment)
	require.Equal(t, attestation.TierAffirming, appraisal.Status)
	require.Equal(t, hex.EncodeToString(testInstance), appraisal.Instance)
	require.Equal(t, evidence.KeyBornInside.String(), appraisal.Claims["key"])
}
