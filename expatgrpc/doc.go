// Package expatgrpc is gRPC over attested TLS: transport credentials for both
// sides, a guard for the methods of a server, and demands that a client makes of
// the server for each call.
//
//	creds, err := expatgrpc.NewCredentials(config)
//
//	guard := expatgrpc.Require(expatgrpc.Methods{
//		"/vault.Vault/Keys": {expatgrpc.Tier(attestation.TierAffirming)},
//	})
//	srv := grpc.NewServer(append(guard.ServerOptions(), grpc.Creds(creds))...)
//	result, ok := expatgrpc.FromContext(ctx) // in a handler
//
//	cc, err := grpc.NewClient("dns:///vault.example:443", grpc.WithTransportCredentials(creds),
//		grpc.WithPerRPCCredentials(expatgrpc.RequireServer(demands...)))
//	result, ok := expatgrpc.PeerFrom(&p) // of grpc.Peer(&p)
//
// The exchange of package expat is done before gRPC sees a connection, so a
// handler never runs, and a call is never sent, on a connection that is not
// attested as the Config demands. The ALPN name on the wire is expat/1+h2, and
// neither side falls back to plain TLS.
//
// # When a verdict ends
//
// A connection ends when a verdict runs out, and when a peer that is asked anew
// ([expat.Config].ReattestEvery) is refused. Its calls then end with
// codes.Unavailable, and gRPC connects again, with its backoff. Everything here
// reads the latest verdict.
package expatgrpc
