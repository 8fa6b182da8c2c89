package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/evidence/simulated"
)

// Only the program of the policy file gets the key, which is always the same.
func TestKeyBroker(t *testing.T) {
	vendor := must(simulated.NewVendor("test", time.Now()))
	broker := startBroker(vendor)
	first, err := fetchKey(broker, vendor, "trainer 1.0")
	require.NoError(t, err)
	require.Len(t, first, 32)
	again, err := fetchKey(broker, vendor, "trainer 1.0")
	require.NoError(t, err)
	require.Equal(t, first, again)

	key, err := fetchKey(broker, vendor, "another")
	require.Nil(t, key)
	var refused *expat.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, expat.AlertAttestationRejected, refused.Alert)

	// The right program on a device of a vendor that the policy does not name.
	key, err = fetchKey(broker, must(simulated.NewVendor("other", time.Now())), "trainer 1.0")
	require.Nil(t, key)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, expat.AlertAttestationRejected, refused.Alert)
}

// The program as it is started.
func TestMainRuns(*testing.T) { main() }
