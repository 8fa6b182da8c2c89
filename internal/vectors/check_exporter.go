package vectors

import (
	"bytes"
	"errors"

	"github.com/expat-go/expat/authenticator"
)

type exporterInput struct {
	Connection Connection `json:"connection"`
	Label      string     `json:"label"`
	Context    *Bytes     `json:"context"` // nil: absent
	Length     int        `json:"length"`
}

type exporterExpected struct {
	Exported Bytes `json:"exported"`
}

func runExporter(_ *keyring, in *exporterInput) (outcome, error) {
	if err := in.Connection.check(); err != nil {
		return outcome{}, err
	}
	var context []byte
	if in.Context != nil {
		context = *in.Context
	}
	out, err := in.Connection.ExportKeyingMaterial(in.Label, context, in.Length)
	if err != nil {
		return outcome{}, err
	}
	if context != nil {
		// What reaches a Session's users must be the same value.
		s, err := session(&in.Connection, sideClient)
		if err != nil {
			return outcome{}, err
		}
		again, err := s.Export(in.Label, context, in.Length)
		if err != nil {
			return outcome{}, err
		}
		if !bytes.Equal(out, again) {
			return outcome{}, errors.New("Session.Export differs")
		}
	}
	return outcome{value: exporterExpected{out}}, nil
}

// session is the side of a connection that runs the packages under test.
func session(c *Connection, side string) (*authenticator.Session, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	role := authenticator.Client
	switch side {
	case sideClient:
	case sideServer:
		role = authenticator.Server
	default:
		return nil, errors.New("a side is client or server")
	}
	return authenticator.NewSessionFromExporter(c, c.Hash(), role)
}
