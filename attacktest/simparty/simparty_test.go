package simparty_test

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attacktest/simparty"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/internal/testca"
)

// A Party has everything but a Twin, and keys that are all different.
func TestNew(t *testing.T) {
	t.Parallel()
	var instances [][]byte
	p, err := simparty.New(options(t, &instances, -1, -1))
	require.NoError(t, err)
	require.Nil(t, p.Twin)
	keys := map[string]bool{}
	for _, c := range []tls.Certificate{p.Identity, *p.Other, p.Diverted.Identity, p.Unknown.Identity} {
		id, err := authenticator.NewIdentity(c)
		require.NoError(t, err)
		keys[string(id.SPKI())] = true
	}
	require.Len(t, keys, 4)
	require.Len(t, instances, 3)
	require.Nil(t, instances[0])
	require.Len(t, instances[1], 17)
	require.Nil(t, instances[2], "an unknown vendor's device claims to be the same")
	require.Equal(t, []string{simulated.MediaType}, p.Attester.MediaTypes())
	require.NotNil(t, p.Foreign)
	require.NotNil(t, p.Misnamed)
	require.NotNil(t, p.Dressed)
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	var instances [][]byte
	for n := range 3 {
		_, err := simparty.New(options(t, &instances, n, -1))
		require.ErrorIs(t, err, errNo, "device %d", n)
	}
	for n := range 4 {
		_, err := simparty.New(options(t, &instances, -1, n))
		require.ErrorIs(t, err, errNo, "certificate %d", n)
	}
}

var errNo = errors.New("no")

// options fail at the given device or certificate; -1: at none.
func options(t *testing.T, instances *[][]byte, device, certificate int) simparty.Options {
	ca, err := testca.New("party", time.Now())
	require.NoError(t, err)
	vendor, err := simulated.NewVendor("vendor", time.Now())
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("firmware"))
	devices, certificates := 0, 0
	return simparty.Options{
		Vendor: vendor,
		Device: func(v *simulated.Vendor, instance []byte) (*simulated.Device, error) {
			*instances = append(*instances, instance)
			if devices++; devices == device+1 {
				return nil, errNo
			}
			return v.NewDevice(simulated.DeviceOptions{
				Instance:     instance,
				Measurements: []evidence.Measurement{{Name: "firmware", Algorithm: "sha-256", Digest: digest[:]}},
			})
		},
		Issue: func(key crypto.Signer) (tls.Certificate, error) {
			if certificates++; certificates == certificate+1 {
				return tls.Certificate{}, errNo
			}
			return ca.Leaf(key, time.Now(), "party.test")
		},
	}
}
