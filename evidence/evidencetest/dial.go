package evidencetest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/internal/testca"
)

// Dial runs a server with a new key on loopback that attests with a, has v appraise
// it, sends it a word that must come back, and returns what the client learned of it.
func Dial(ctx context.Context, a attestation.Attester, v attestation.Verifier) (result *attestation.Result, err error) {
	ca, err := testca.New("evidencetest", time.Now())
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := ca.Leaf(key, time.Now(), "server.test")
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ln := expat.NewListener(tcp, &expat.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Attester: a})
	served := make(chan struct{})
	go echo(ln, served)
	defer func() {
		err = errors.Join(err, ln.Close())
		<-served
	}()
	conn, err := expat.Dial(ctx, "tcp", ln.Addr().String(), &expat.Config{
		TLS: &tls.Config{RootCAs: ca.Pool(), ServerName: "server.test"}, Verifier: v,
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "word"); err != nil {
		return nil, err
	}
	word := make([]byte, 4)
	if _, err := io.ReadFull(conn, word); err != nil || string(word) != "word" {
		return nil, errors.Join(errors.New("evidencetest: the word did not come back"), err)
	}
	return conn.Peer(), nil
}

// echo sends back what comes, one connection after another, until ln is closed.
func echo(ln net.Listener, ended chan<- struct{}) {
	defer close(ended)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}
}

// AttestNewKey returns the Evidence, of one leaf, that a makes for a new key on a new
// connection, and the Binding it was made for.
func AttestNewKey(ctx context.Context, a attestation.Attester) (attestation.Binding, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return attestation.Binding{}, nil, err
	}
	id, err := Identity(key)
	if err != nil {
		return attestation.Binding{}, nil, err
	}
	b, m, err := Attest(ctx, crypto.SHA256, id, a)
	if err != nil {
		return b, nil, err
	}
	return b, m.Leaves()[0].Value, nil
}
