package main

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/big"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/expatgrpc"
	"github.com/expat-go/expat/verifier"
)

// roots are the X.509 roots of all sides: here their own certificates.
var roots = x509.NewCertPool()

// side runs one program in a device of its own and accepts peers that run one of
// others.
func side(vendor *simulated.Vendor, program string, others ...string) (*expat.Config, *changingDevice) {
	device := must(vendor.NewDevice(simulated.DeviceOptions{Debug: evidence.DebugDisabled, Measurements: measure(program)}))
	var good [][]byte
	for _, other := range others {
		good = append(good, measure(other)[0].Digest)
	}
	policy := must(verifier.New(verifier.Policy{
		Name: "example", Roots: vendor.Roots(), AnyInstance: true, Measurements: map[string][][]byte{"program": good},
	}, simulated.Extractor{}))
	attester := &changingDevice{closed: simulated.NewAttester(device), opened: simulated.NewAttester(device, simulated.DebugOn)}
	return &expat.Config{
		TLS: &tls.Config{
			Certificates: certificates(must(device.GenerateKey(elliptic.P256()))), // born in the device
			RootCAs:      roots, ClientCAs: roots,
		},
		Attester: attester,
		Verifier: policy,
	}, attester
}

// changingDevice attests a device that somebody can open for debugging.
type changingDevice struct {
	closed, opened *simulated.Attester
	open           atomic.Bool
}

func (d *changingDevice) openForDebugging(open bool) { d.open.Store(open) }

// MediaTypes implements [attestation.Attester].
func (d *changingDevice) MediaTypes() []string { return d.closed.MediaTypes() }

// Attest implements [attestation.Attester].
func (d *changingDevice) Attest(ctx context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	if d.open.Load() {
		return d.opened.Attest(ctx, b, accept)
	}
	return d.closed.Attest(ctx, b, accept)
}

// certificates makes a certificate for a key and trusts it. A deployment has its
// CA sign one.
func certificates(key crypto.Signer) []tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	roots.AddCert(must(x509.ParseCertificate(der)))
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

// measure stands for what the hardware does: it hashes the program.
func measure(program string) []evidence.Measurement {
	digest := sha256.Sum256([]byte(program))
	return []evidence.Measurement{{Name: "program", Algorithm: "sha-256", Digest: digest[:]}}
}

// The service, as protoc would write it:
//
//	service Vault {
//	  rpc Status(google.protobuf.Empty) returns (google.protobuf.StringValue);
//	  rpc Keys(google.protobuf.Empty) returns (google.protobuf.StringValue);
//	  rpc Watch(google.protobuf.Empty) returns (stream google.protobuf.StringValue);
//	}
const (
	methodStatus = "/example.Vault/Status"
	methodKeys   = "/example.Vault/Keys"
	methodWatch  = "/example.Vault/Watch"
)

var service = grpc.ServiceDesc{
	ServiceName: "example.Vault", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Status", Handler: unary(methodStatus, vaultServer.Status)},
		{MethodName: "Keys", Handler: unary(methodKeys, vaultServer.Keys)},
	},
	Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(srv any, s grpc.ServerStream) error {
		if err := s.RecvMsg(new(emptypb.Empty)); err != nil {
			return err
		}
		return srv.(vaultServer).Watch(s)
	}}},
}

// unary makes the handler of a method.
func unary(name string, method func(vaultServer, context.Context) string) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: name}, func(ctx context.Context, _ any) (any, error) {
			return wrapperspb.String(method(srv.(vaultServer), ctx)), nil
		})
	}
}

// vaultServer implements the service.
type vaultServer struct{}

// Status tells a client in which tier it is.
func (vaultServer) Status(ctx context.Context) string {
	client, ok := expatgrpc.FromContext(ctx)
	if !ok {
		return "you are gone" // the connection has just ended
	}
	return "you are " + client.Tier().String()
}

// Keys answers with what is for one client alone.
func (vaultServer) Keys(context.Context) string { return "the keys" }

// Watch sends one message and keeps the stream open.
func (vaultServer) Watch(s grpc.ServerStream) error {
	if err := s.SendMsg(wrapperspb.String("nothing new")); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
