package ear

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"
)

// BenchmarkCheck is to stay within 1.3 times BenchmarkBareVerify.
func BenchmarkCheck(b *testing.B) {
	p := newParty(b)
	token, checker := p.issue(b, p.statement()), p.checker(b)
	b.ReportAllocs()
	for b.Loop() {
		e, err := checker.Check(context.Background(), token)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.Result(p.binding, ResultOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareVerify is one ES256 verification and one JSON decoding of the same
// token, without any check.
func BenchmarkBareVerify(b *testing.B) {
	p := newParty(b)
	token := p.issue(b, p.statement())
	b.ReportAllocs()
	for b.Loop() {
		parts := bytes.Split(token, []byte("."))
		signature, _ := base64.RawURLEncoding.DecodeString(string(parts[2]))
		digest := sha256.Sum256(token[:len(parts[0])+1+len(parts[1])])
		if !ecdsa.Verify(&p.key.PublicKey, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			b.Fatal("signature")
		}
		payload, _ := base64.RawURLEncoding.DecodeString(string(parts[1]))
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	p := newParty(b)
	b.ReportAllocs()
	for b.Loop() {
		p.issue(b, p.statement())
	}
}
