// Grpc runs a server and two clients, each in a simulated TEE, which protects
// nothing. Every peer must attest; one method demands of the client that it runs a
// certain program; and a client whose device changes under a live connection loses
// it. setup.go has what a deployment has already.
//
//	go run -C examples/grpc .
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/evidence/simulated"
	"github.com/expat-go/expat/expatgrpc"
)

func main() {
	// The server runs vault and lets payroll and reports in. It asks them anew all
	// the time; a deployment would say minutes.
	vendor := must(simulated.NewVendor("example", time.Now()))
	vault, _ := side(vendor, "vault", "payroll", "reports")
	payroll, device := side(vendor, "payroll", "vault")
	reports, _ := side(vendor, "reports", "vault")
	vault.ReattestEvery = 50 * time.Millisecond
	payroll.Reattest, reports.Reattest = true, true

	// The keys are for payroll alone. What is not listed is closed.
	guard := expatgrpc.Require(expatgrpc.Methods{
		methodStatus: {expatgrpc.Tier(attestation.TierAffirming)},
		methodWatch:  {},
		methodKeys:   {runs("payroll")},
	})
	guard.Denied = func(_ context.Context, method string, reason error) {
		fmt.Println("  the server denies", method+":", reason)
	}
	srv := grpc.NewServer(append(guard.ServerOptions(), grpc.Creds(must(expatgrpc.NewCredentials(vault))))...)
	srv.RegisterService(&service, vaultServer{})
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	visit("reports", reports, ln.Addr().String(), nil)
	visit("payroll", payroll, ln.Addr().String(), device)

	srv.GracefulStop()
	check(<-served)
}

// runs demands that a peer runs a program: that its only measurement is that
// program's.
func runs(program string) expatgrpc.Demand {
	m := measure(program)[0]
	return expatgrpc.Claim(simulated.Platform, "measurements", []map[string]string{
		{"name": m.Name, "algorithm": m.Algorithm, "digest": hex.EncodeToString(m.Digest)},
	})
}

// visit calls both methods. It demands of the server what it runs, though the
// policy does so already. With a device it shows what becomes of a stream when that
// device is opened for debugging.
func visit(program string, config *expat.Config, addr string, device *changingDevice) {
	cc := must(grpc.NewClient(addr,
		grpc.WithTransportCredentials(must(expatgrpc.NewCredentials(config))),
		grpc.WithPerRPCCredentials(expatgrpc.RequireServer(runs("vault")))))
	defer func() { check(cc.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, method := range []string{methodStatus, methodKeys} {
		ask(ctx, program, cc, method)
	}
	if device == nil {
		return
	}
	stream := must(cc.NewStream(ctx, &service.Streams[0], methodWatch))
	check(stream.SendMsg(new(emptypb.Empty)))
	message := new(wrapperspb.StringValue)
	check(stream.RecvMsg(message))
	fmt.Printf("%s watches: %q\n", program, message.Value)

	device.openForDebugging(true)
	fmt.Println(program, "is being debugged, its stream ends:", status.Code(stream.RecvMsg(message)))
	device.openForDebugging(false)
	ask(ctx, program, cc, methodStatus)
}

// ask calls a method and tells who answered. After a connection was lost gRPC makes
// another one by itself; the call waits for it.
func ask(ctx context.Context, program string, cc *grpc.ClientConn, method string) {
	answer, server := new(wrapperspb.StringValue), new(peer.Peer)
	err := cc.Invoke(ctx, method, new(emptypb.Empty), answer, grpc.Peer(server), grpc.WaitForReady(true))
	result, ok := expatgrpc.PeerFrom(server)
	if !ok {
		check(fmt.Errorf("%s: %w", method, err))
	}
	fmt.Printf("%s calls %s: the server is %v, answers %v %q\n", program, method, result.Tier(), status.Code(err), answer.Value)
}
