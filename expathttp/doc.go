// Package expathttp is HTTP over attested TLS: a server, a middleware and a
// client transport, for HTTP/1.1 and HTTP/2.
//
//	srv, err := expathttp.NewServer(&http.Server{Handler: mux}, config)
//	err = srv.Serve(ln)
//
//	mux.Handle("/keys", expathttp.Require(keys, expathttp.Tier(attestation.TierAffirming)))
//	result, ok := expathttp.FromRequest(r)
//
//	transport, err := expathttp.NewTransport(config, expathttp.Options{})
//	client := &http.Client{Transport: transport}
//	result, ok := expathttp.PeerOf(resp)
//
// The exchange of package expat is done before net/http sees a connection, so a
// handler never runs, and a request is never sent, on a connection that is not
// attested as the Config demands. ALPN is set up here: the names on the wire are
// expat/1+h2 and expat/1+http/1.1, and neither side falls back to plain TLS.
//
// # How HTTP/2 runs
//
// All of HTTP is net/http's. On the server HTTP/2 runs over the bare [tls.Conn]
// ([expat.Conn.Bare]); where a connection has none, because its bytes travel in
// frames (re-attestation), over the [expat.Conn]. The client runs both protocols over
// the expat.Conn. All of these end when a verdict runs out.
//
// # Which peer answers
//
// One address can lead to several peers. The transport knows each connection's
// result and keeps connections of different results apart: a request without
// demands goes to one kind of peer until no connection to it is left, and a
// request with demands ([WithDemands]) only to a connection that meets them, judged
// on the very connection that then carries it. Connections are never shared
// between addresses, whatever their certificates say.
package expathttp
