package authenticator_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/internal/testca"
)

// A client asks a server, over a connection that is already there, to prove a
// further identity. How the two messages travel is the application's matter; the
// connection itself will do.
func ExampleSession() {
	client, server, ca, cert := connection()

	// Client side: ask.
	clientSession, err := authenticator.NewSession(client.ConnectionState(), authenticator.Client)
	if err != nil {
		log.Fatal(err)
	}
	request, err := clientSession.NewRequest(authenticator.RequestOptions{ServerName: "second.example"})
	if err != nil {
		log.Fatal(err)
	}
	message := request.Bytes()

	// Server side: answer with the identity that fits.
	serverSession, err := authenticator.NewSession(server.ConnectionState(), authenticator.Server)
	if err != nil {
		log.Fatal(err)
	}
	received, err := serverSession.ReceiveRequest(message)
	if err != nil {
		log.Fatal(err)
	}
	second, err := authenticator.NewIdentity(cert)
	if err != nil {
		log.Fatal(err)
	}
	id, err := received.Select(second)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := serverSession.Authenticate(context.Background(), received, id)
	if err != nil {
		log.Fatal(err)
	}

	// Client side: validate. Every check is behind this one call.
	peer, err := clientSession.Validate(request, answer, authenticator.ValidateOptions{
		VerifyChain: authenticator.VerifyServerChain(ca.Pool(), "second.example", time.Now),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(peer.Leaf().DNSNames)

	// Output: [second.example]
}

// A server asks a client, who has nothing to show and says so. The refusal is
// bound to the connection and the request: nobody else can have sent it.
func ExampleSession_Refuse() {
	client, server, ca, _ := connection()

	// Server side: ask.
	serverSession, err := authenticator.NewSession(server.ConnectionState(), authenticator.Server)
	if err != nil {
		log.Fatal(err)
	}
	request, err := serverSession.NewRequest(authenticator.RequestOptions{})
	if err != nil {
		log.Fatal(err)
	}

	// Client side: refuse.
	clientSession, err := authenticator.NewSession(client.ConnectionState(), authenticator.Client)
	if err != nil {
		log.Fatal(err)
	}
	received, err := clientSession.ReceiveRequest(request.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	refusal, err := clientSession.Refuse(received)
	if err != nil {
		log.Fatal(err)
	}

	// Server side: a refusal is an error like every other outcome but success.
	_, err = serverSession.Validate(request, refusal, authenticator.ValidateOptions{
		VerifyChain: authenticator.VerifyClientChain(ca.Pool(), time.Now),
	})
	var failure *authenticator.Error
	if errors.Is(err, authenticator.ErrRefused) && errors.As(err, &failure) {
		fmt.Println(failure.Fault, failure.Alert)
	}

	// Output: peer tls: certificate required
}

// connection is a TLS 1.3 connection, with a certificate for second.example.
func connection() (client, server *tls.Conn, ca *testca.CA, cert tls.Certificate) {
	ca, err := testca.New("example", time.Now())
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	first, err := ca.Leaf(key, time.Now(), "first.example")
	if err != nil {
		log.Fatal(err)
	}
	if cert, err = ca.Leaf(key, time.Now(), "second.example"); err != nil {
		log.Fatal(err)
	}
	c, s := net.Pipe()
	client = tls.Client(c, &tls.Config{RootCAs: ca.Pool(), ServerName: "first.example"})
	server = tls.Server(s, &tls.Config{Certificates: []tls.Certificate{first}, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		log.Fatal(err)
	}
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	return client, server, ca, cert
}
