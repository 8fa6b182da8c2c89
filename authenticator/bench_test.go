package authenticator

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/testca"
)

// The benchmarks compare each side of an exchange with the one operation it cannot
// do without: an ECDSA P-256 signature over the signed content, or its verification.

// batch is how many exchanges are prepared outside the timer; a Session
// remembers every context, so each batch has its own connection.
const batch = 256

// benchContext can end, as a caller's does.
func benchContext(b *testing.B) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	return ctx
}

func BenchmarkBareSign(b *testing.B) {
	key := newKey()
	content := signedContent(make([]byte, 32))
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256(content)
		if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) { benchmarkAuthenticate(b, ecdsaIdentity(b)) }

// BenchmarkAuthenticateOpaqueKey signs with a key of a foreign type, as those of a
// TPM or an HSM are: the difference is the goroutine it is called in.
func BenchmarkAuthenticateOpaqueKey(b *testing.B) {
	benchmarkAuthenticate(b, identity(b, withKey(opaque{newKey()})))
}

func benchmarkAuthenticate(b *testing.B, id *Identity) {
	ctx := benchContext(b)
	var p pair
	var requests []*ReceivedRequest
	b.ReportAllocs()
	for b.Loop() {
		if len(requests) == 0 {
			b.StopTimer()
			p = connect(b, 0)
			requests = make([]*ReceivedRequest, 0, batch)
			for range batch {
				_, received := ask(b, p.client, p.server, RequestOptions{})
				requests = append(requests, received)
			}
			b.StartTimer()
		}
		r := requests[len(requests)-1]
		requests = requests[:len(requests)-1]
		if _, err := p.server.Authenticate(ctx, r, id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareVerify(b *testing.B) {
	key := newKey()
	content := signedContent(make([]byte, 32))
	digest := sha256.Sum256(content)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256(content)
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("signature")
		}
	}
}

// BenchmarkValidate has the peer show the certificates of its TLS handshake, the
// default deployment.
func BenchmarkValidate(b *testing.B) { benchmarkValidate(b, ecdsaIdentity(b)) }

// BenchmarkValidateNewChain has the peer show a chain that the handshake did not,
// so that both certificates are parsed.
func BenchmarkValidateNewChain(b *testing.B) {
	ca, err := testca.New("another", now)
	require.NoError(b, err)
	cert, err := ca.Leaf(newKey(), now, "server.test")
	require.NoError(b, err)
	benchmarkValidate(b, identity(b, cert))
}

func benchmarkValidate(b *testing.B, id *Identity) {
	type answer struct {
		r *Request
		b []byte
	}
	var p pair
	var answers []answer
	b.ReportAllocs()
	for b.Loop() {
		if len(answers) == 0 {
			b.StopTimer()
			p = connect(b, 0)
			answers = make([]answer, 0, batch)
			for range batch {
				r, msg := exchange(b, p.client, p.server, RequestOptions{}, id)
				answers = append(answers, answer{r, msg})
			}
			b.StartTimer()
		}
		a := answers[len(answers)-1]
		answers = answers[:len(answers)-1]
		if _, err := p.client.Validate(a.r, a.b, anyChain); err != nil {
			b.Fatal(err)
		}
	}
}
