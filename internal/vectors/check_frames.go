package vectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/expat-go/expat/internal/wire"
)

type frameInput struct {
	Frame            Bytes `json:"frame"`
	MaxAuthenticator int   `json:"max_authenticator"`
}

type frameExpected struct {
	Type    uint8        `json:"type"`
	Payload Bytes        `json:"payload"`
	Hello   *helloFrame  `json:"hello,omitempty"`
	Result  *resultFrame `json:"result,omitempty"`
	Alert   *alertFrame  `json:"alert,omitempty"`
}

type helloFrame struct {
	WillRequest      bool     `json:"will_request"`
	CanAttest        bool     `json:"can_attest"`
	MediaTypes       []string `json:"media_types"`
	Models           uint64   `json:"models"`
	Mux              bool     `json:"mux"`
	MaxAuthenticator int      `json:"max_authenticator"`
}

type resultFrame struct {
	Code     uint16 `json:"code"`
	Lifetime *int64 `json:"lifetime"` // seconds
}

type alertFrame struct {
	Code uint16 `json:"code"`
}

// frameSentinels begin with what is found last: the error of a map that ends
// early also wraps io.ErrUnexpectedEOF.
var frameSentinels = []sentinel{
	{wire.ErrMap, "malformed"},
	{io.ErrUnexpectedEOF, "truncated"},
	{wire.ErrType, "unknown-type"},
	{wire.ErrTooLarge, "too-large"},
}

var frameReasons = []string{"truncated", "unknown-type", "too-large", "malformed"}

func runFrame(_ *keyring, in *frameInput) (outcome, error) {
	out, err := readFrame(in.Frame, in.MaxAuthenticator)
	if err != nil {
		return reasonOf(err, frameSentinels)
	}
	again, err := wire.Append(nil, wire.Type(out.Type), out.Payload)
	if err != nil || !bytes.Equal(again, in.Frame) {
		return outcome{}, errors.New("the frame is encoded in another way")
	}
	return outcome{value: out}, nil
}

// readFrame reads a frame that fills b.
func readFrame(b []byte, maxAuthenticator int) (*frameExpected, error) {
	r := bytes.NewReader(b)
	t, payload, err := wire.Read(r, maxAuthenticator)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // a stream without a frame
	}
	if err != nil {
		return nil, err
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("%d bytes follow the frame", r.Len())
	}
	out := &frameExpected{Type: uint8(t), Payload: payload}
	switch t {
	case wire.Hello:
		out.Hello, err = readHello(payload)
	case wire.Result:
		out.Result, err = readResult(payload)
	case wire.Alert:
		code, e := wire.ParseAlert(payload)
		out.Alert, err = &alertFrame{code}, e
	}
	return out, err
}

func readHello(payload []byte) (*helloFrame, error) {
	h, err := wire.ParseHello(payload)
	if err != nil {
		return nil, err
	}
	out := &helloFrame{h.WillRequest, h.CanAttest, []string{}, uint64(h.Models), h.Mux, h.MaxAuthenticator}
	out.MediaTypes = append(out.MediaTypes, h.MediaTypes...)
	return out, nil
}

func readResult(payload []byte) (*resultFrame, error) {
	r, err := wire.ParseResult(payload)
	if err != nil {
		return nil, err
	}
	out := &resultFrame{Code: r.Code}
	if r.Lifetime != 0 {
		seconds := int64(r.Lifetime / time.Second)
		out.Lifetime = &seconds
	}
	return out, nil
}
