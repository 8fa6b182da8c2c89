package vectors

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/expat-go/expat/authenticator"
)

type requestInput struct {
	Receiver     string  `json:"receiver"`
	Message      Bytes   `json:"message"`
	UsedContexts []Bytes `json:"used_contexts"`
}

type requestExpected struct {
	Type             uint8       `json:"type"`
	Context          Bytes       `json:"context"`
	Extensions       []Extension `json:"extensions"`
	SignatureSchemes []uint16    `json:"signature_schemes"`
	ServerName       *string     `json:"server_name"`
}

// requestSentinels is the group's closed list, with the errors that stand for it.
var requestSentinels = []sentinel{
	{authenticator.ErrLimit, "limit"},
	{authenticator.ErrDecode, "malformed"},
	{authenticator.ErrUnexpectedMessage, "unexpected-message"},
	{authenticator.ErrIllegalExtension, "illegal-extension"},
	{authenticator.ErrMissingExtension, "missing-extension"},
	{authenticator.ErrContextReuse, "context-reuse"},
}

var requestReasons = reasons(requestSentinels)

func reasons(table []sentinel) []string {
	out := make([]string, len(table))
	for i, s := range table {
		out[i] = s.reason
	}
	return out
}

func runRequest(_ *keyring, in *requestInput) (outcome, error) {
	s, err := session(&rfc8448, in.Receiver)
	if err != nil {
		return outcome{}, err
	}
	if err := use(s, in.UsedContexts); err != nil {
		return outcome{}, err
	}
	received, err := s.ReceiveRequest(in.Message)
	if err != nil {
		return reasonOf(err, requestSentinels)
	}
	r, err := cutRequest(in.Message)
	if err != nil {
		return outcome{}, err
	}
	if err := compareRequest(received, r); err != nil {
		return outcome{}, err
	}
	if context, err := authenticator.Context(in.Message); err != nil || !bytes.Equal(context, r.context) {
		return outcome{}, fmt.Errorf("authenticator.Context: %x, %w", context, err)
	}
	if len(r.extensions) > 0 && r.extensions[0].Type == extSignatureAlgorithms {
		sender, err := session(&rfc8448, otherSide(in.Receiver))
		if err != nil {
			return outcome{}, err
		}
		if _, err := send(sender, in.Message); err != nil {
			return outcome{}, err
		}
	}
	out := requestExpected{Type: r.typ, Context: r.context, Extensions: r.extensions, SignatureSchemes: r.schemes}
	if name := received.ServerName(); name != "" {
		out.ServerName = &name
	}
	return outcome{value: out}, nil
}

// compareRequest compares the package's reading with that of this one.
func compareRequest(received *authenticator.ReceivedRequest, r *parsedRequest) error {
	if !bytes.Equal(received.Context(), r.context) {
		return errors.New("ReceivedRequest.Context differs")
	}
	for _, e := range r.extensions {
		if data, ok := received.Extension(e.Type); !ok || !bytes.Equal(data, e.Data) {
			return fmt.Errorf("ReceivedRequest.Extension(%d) differs", e.Type)
		}
	}
	return nil
}

// use takes contexts out of use on a connection.
func use(s *authenticator.Session, contexts []Bytes) error {
	for _, c := range contexts {
		if _, err := s.NewRequest(authenticator.RequestOptions{Context: c}); err != nil {
			return fmt.Errorf("used_contexts: %w", err)
		}
	}
	return nil
}

// send makes the package under test send a given request, so that answers to it
// can be validated. It must come out byte for byte; for that its first extension
// must be signature_algorithms.
func send(s *authenticator.Session, message []byte) (*authenticator.Request, error) {
	r, err := cutRequest(message)
	if err != nil {
		return nil, err
	}
	if len(r.extensions) == 0 || r.extensions[0].Type != extSignatureAlgorithms {
		return nil, errStructure
	}
	o := authenticator.RequestOptions{Context: r.context}
	for _, scheme := range r.schemes {
		o.SignatureSchemes = append(o.SignatureSchemes, tls.SignatureScheme(scheme))
	}
	for _, e := range r.extensions[1:] {
		o.Extensions = append(o.Extensions, authenticator.Extension{Type: e.Type, Data: e.Data})
	}
	request, err := s.NewRequest(o)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(request.Bytes(), message) {
		return nil, errors.New("Session.NewRequest makes other bytes")
	}
	return request, nil
}
