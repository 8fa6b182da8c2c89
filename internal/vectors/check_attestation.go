package vectors

import (
	"context"
	"errors"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmw"
	"golang.org/x/crypto/cryptobyte"
)

type attestationInput struct {
	Offer   *Bytes        `json:"offer"`
	Entries [][]Extension `json:"entries"`
	Accept  []string      `json:"accept"`
}

type attestationExpected struct {
	CMWData Bytes     `json:"cmw_data"`
	Leaves  []cmwLeaf `json:"leaves"`
}

type cmwLeaf struct {
	MediaType string `json:"media_type"`
	Value     Bytes  `json:"value"`
	Indicator uint32 `json:"indicator"`
}

const (
	reasonOffer       = "offer-not-empty"
	reasonLength      = "length-prefix"
	reasonCMW         = "cmw"
	reasonMessageKind = "message-kind"
)

var attestationReasons = []string{
	reasonOffer, "illegal-extension", "not-offered", "placement", "missing",
	reasonLength, reasonCMW, reasonMessageKind, "media-type",
}

var attestationSentinels = []sentinel{
	{authenticator.ErrIllegalExtension, "illegal-extension"},
	{authenticator.ErrUnsupportedExtension, "not-offered"},
	{attestation.ErrPlacement, "placement"},
	{attestation.ErrMissing, "missing"},
	{attestation.ErrMediaType, "media-type"},
}

// runAttestation puts the extensions into an authenticator of its own, and
// appraises that.
func runAttestation(k *keyring, in *attestationInput) (outcome, error) {
	const connectionContext = "context of at least 16 bytes"
	id, err := k.identity("server-ed25519")
	if err != nil {
		return outcome{}, err
	}
	offered := []Extension{signatureAlgorithms(schemeEd25519)}
	if in.Offer != nil {
		offered = append(offered, Extension{extCMW, *in.Offer})
	}
	request := encodeRequest(msgClientCertificateRequest, []byte(connectionContext), offered...)
	if refused, err := offerRefused(request); err != nil || refused {
		return outcome{reason: reasonOffer}, err
	}
	a := newAuthn(&rfc8448, sideServer, request, []byte(connectionContext), id)
	for len(a.certificates) < len(in.Entries) {
		a.certificates = append(a.certificates, a.certificates[len(a.certificates)-1])
	}
	a.certificates = a.certificates[:len(in.Entries)]
	a.extensions = in.Entries
	message, err := a.build()
	if err != nil {
		return outcome{}, err
	}
	s, err := session(&rfc8448, sideClient)
	if err != nil {
		return outcome{}, err
	}
	sent, err := send(s, request)
	if err != nil {
		return outcome{}, err
	}
	peer, err := s.Validate(sent, message, authenticator.ValidateOptions{VerifyChain: authenticator.AcceptAnyChain})
	if err != nil {
		return reasonOf(err, attestationSentinels)
	}
	return extract(in, peer)
}

// offerRefused tells whether a responder refuses the offer in a request.
func offerRefused(request []byte) (bool, error) {
	s, err := session(&rfc8448, sideServer)
	if err != nil {
		return false, err
	}
	r, err := s.ReceiveRequest(request)
	if err != nil {
		return false, err
	}
	_, err = attestation.Expat04().Offered(r)
	return errors.Is(err, attestation.ErrMalformed), nil
}

func extract(in *attestationInput, peer *authenticator.Peer) (outcome, error) {
	v := &reader{accept: in.Accept}
	_, err := attestation.Appraise(context.Background(), attestation.Expat04(), peer, v)
	if v.message == nil {
		return extractReason(in, err)
	}
	out := attestationExpected{Leaves: []cmwLeaf{}}
	data, _ := cmwData(in)
	out.CMWData = data
	for _, leaf := range v.message.Leaves() {
		out.Leaves = append(out.Leaves, cmwLeaf{leaf.MediaType, leaf.Value, uint32(leaf.Indicator)})
	}
	return outcome{value: out}, nil
}

// extractReason tells the three kinds of malformed extension apart.
func extractReason(in *attestationInput, err error) (outcome, error) {
	var decode *cmw.DecodeError
	_, filled := cmwData(in)
	switch {
	case !errors.Is(err, attestation.ErrMalformed):
		return reasonOf(err, attestationSentinels)
	case errors.As(err, &decode):
		return outcome{reason: reasonCMW}, nil
	case filled:
		return outcome{reason: reasonMessageKind}, nil
	}
	return outcome{reason: reasonLength}, nil
}

// cmwData takes cmw_data out of the leaf's extension.
func cmwData(in *attestationInput) (Bytes, bool) {
	for _, e := range in.Entries[0] {
		if e.Type != extCMW {
			continue
		}
		s := cryptobyte.String(e.Data)
		var data cryptobyte.String
		ok := s.ReadUint16LengthPrefixed(&data) && s.Empty() && !data.Empty()
		return Bytes(data), ok
	}
	return nil, false
}

// reader is a Verifier that keeps the message and gives no verdict.
type reader struct {
	accept  []string
	message *cmw.Message
}

func (r *reader) MediaTypes() []string { return r.accept }

func (r *reader) Appraise(_ context.Context, _ attestation.Binding, m *cmw.Message) (*attestation.Result, error) {
	r.message = m
	return nil, attestation.ErrUnavailable
}
