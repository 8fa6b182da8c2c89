package attestation_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/internal/testca"
)

// platform stands for a TEE: its Evidence is the report data alone. That of a real
// one is signed.
type platform struct{}

const reportType = "application/vnd.example.report"

func (platform) MediaTypes() []string { return []string{reportType} }

func (platform) Attest(_ context.Context, b attestation.Binding, accept []string) (*cmw.Message, error) {
	report := b.ReportData()
	return cmw.NewRecord(accept[0], report[:], cmw.Evidence)
}

// policy stands for a Verifier: it knows what report it must find, and nothing else.
type policy struct{}

func (policy) MediaTypes() []string { return []string{reportType} }

func (policy) Appraise(_ context.Context, b attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	if !b.MatchReportData(m.Value()) {
		return nil, attestation.Reject(errors.New("the report is for another connection"))
	}
	return attestation.NewResult(b, attestation.ResultOptions{
		Verifier:   "example",
		Lifetime:   time.Hour,
		Appraisals: []attestation.Appraisal{{Environment: "example", Status: attestation.TierAffirming, Policy: "report is bound"}},
	})
}

// A client has a server attested. Evidence answers one request on one connection;
// shown again for the next request, it is rejected.
func ExampleAppraise() {
	client, server, id := sessions()
	profile := attestation.Expat04()
	ctx := context.Background()
	offer := authenticator.RequestOptions{Extensions: []authenticator.Extension{profile.Offer()}}
	// How a chain is judged is shown in package authenticator.
	chain := authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain}

	var kept authenticator.Extension
	for _, replay := range []bool{false, true} {
		// Client side: ask.
		request, err := client.NewRequest(offer)
		if err != nil {
			log.Fatal(err)
		}

		// Server side: attest and answer.
		received, err := server.ReceiveRequest(request.Bytes())
		if err != nil {
			log.Fatal(err)
		}
		if !replay {
			if kept, err = attestation.Attest(ctx, profile, received, id, platform{}, []string{reportType}); err != nil {
				log.Fatal(err)
			}
		}
		answer, err := server.Authenticate(ctx, received, id, kept)
		if err != nil {
			log.Fatal(err)
		}

		// Client side: validate, then appraise.
		peer, err := client.Validate(request, answer, chain)
		if err != nil {
			log.Fatal(err)
		}
		result, err := attestation.Appraise(ctx, profile, peer, policy{})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(result.Tier())
	}

	// Output:
	// affirming
	// attestation rejected: the report is for another connection
}

// exporter stands for a TLS connection: both ends export the same values.
type exporter struct{ secret []byte }

func (e exporter) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	sum := sha512.Sum512(bytes.Join([][]byte{e.secret, []byte(label), context}, []byte{0}))
	return sum[:length], nil
}

func sessions() (client, server *authenticator.Session, id *authenticator.Identity) {
	e := exporter{[]byte(rand.Text())}
	client, err := authenticator.NewSessionFromExporter(e, crypto.SHA256, authenticator.Client)
	if err != nil {
		log.Fatal(err)
	}
	if server, err = authenticator.NewSessionFromExporter(e, crypto.SHA256, authenticator.Server); err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ca, err := testca.New("example", time.Now())
	if err != nil {
		log.Fatal(err)
	}
	cert, err := ca.Leaf(key, time.Now(), "server.example")
	if err != nil {
		log.Fatal(err)
	}
	if id, err = authenticator.NewIdentity(cert); err != nil {
		log.Fatal(err)
	}
	return client, server, id
}
