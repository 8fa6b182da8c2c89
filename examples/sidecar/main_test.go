package main

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

const steps = `server side: expat proxy with a simulated TEE, before the backend
client side: expat proxy with a simulated TEE, before the server side
a plain client got, through both: "a page of the backend"
the same client got nothing from the server side directly
`

func TestNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("this test needs nginx: apt-get install -y --no-install-recommends nginx-light")
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nginx, &out))
	require.Equal(t, "backend: nginx\n"+steps, out.String())
}

func TestWithoutNginx(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), "", &out))
	require.Equal(t, "backend: a server in Go, as nginx is not installed\n"+steps, out.String())
}
