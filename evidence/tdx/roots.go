package tdx

import (
	"crypto/x509"
	_ "embed"
)

// intelRoot is Intel SGX Root CA, as Intel publishes it at
// https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.pem
//
//go:embed intel-sgx-root-ca.pem
var intelRoot []byte

// IntelRoots is a new pool with Intel SGX Root CA, for the Roots of a policy.
func IntelRoots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(intelRoot) // a test counts them
	return pool
}
