package vectors

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/expat-go/expat/cmw"
)

type cmwInput struct {
	Message Bytes `json:"message"`
}

type cmwExpected struct {
	Message any    `json:"message"`
	CBOR    Bytes  `json:"cbor"`
	JSON    *Bytes `json:"json"`
}

type cmwRecord struct {
	Kind          string  `json:"kind"`
	MediaType     *string `json:"media_type"`
	ContentFormat *uint16 `json:"content_format"`
	Value         Bytes   `json:"value"`
	Indicator     uint32  `json:"indicator"`
}

type cmwTag struct {
	Kind          string  `json:"kind"`
	Tag           uint64  `json:"tag"`
	MediaType     *string `json:"media_type"`
	ContentFormat uint16  `json:"content_format"`
	Value         Bytes   `json:"value"`
}

type cmwCollection struct {
	Kind           string    `json:"kind"`
	CollectionType *string   `json:"collection_type"`
	Items          []cmwItem `json:"items"`
}

type cmwItem struct {
	Label   cmwLabel `json:"label"`
	Message any      `json:"message"`
}

// cmwLabel has exactly one member. The integer is decimal: it has 64 bits.
type cmwLabel struct {
	Text *string `json:"text,omitempty"`
	Int  *string `json:"int,omitempty"`
}

var cmwSentinels = []sentinel{
	{cmw.ErrEmpty, "empty"},
	{cmw.ErrTooLarge, "too-large"},
	{cmw.ErrSigned, "signed"},
	{cmw.ErrSyntax, "syntax"},
	{cmw.ErrTrailing, "trailing"},
	{cmw.ErrTooDeep, "too-deep"},
	{cmw.ErrTooManyLeaves, "too-many-leaves"},
	{cmw.ErrTag, "tag"},
	{cmw.ErrAmbiguousTag, "ambiguous-tag"},
	{cmw.ErrMediaType, "media-type"},
	{cmw.ErrValue, "value"},
	{cmw.ErrEmptyValue, "empty-value"},
	{cmw.ErrIndicator, "indicator"},
	{cmw.ErrLabel, "label"},
	{cmw.ErrDuplicateLabel, "duplicate-label"},
	{cmw.ErrCollectionType, "collection-type"},
	{cmw.ErrEmptyCollection, "empty-collection"},
}

var cmwReasons = reasons(cmwSentinels)

func runCMW(_ *keyring, in *cmwInput) (outcome, error) {
	m, err := cmw.Decode(in.Message)
	if err != nil {
		return reasonOf(err, cmwSentinels)
	}
	out := cmwExpected{Message: cmwNode(m)}
	if out.CBOR, err = m.MarshalCBOR(); err != nil {
		return outcome{}, err
	}
	j, err := m.MarshalJSON()
	switch {
	case err == nil:
		b := Bytes(j)
		out.JSON = &b
	case !errors.Is(err, cmw.ErrNotJSON):
		return outcome{}, err
	}
	return outcome{value: out}, readAgain(m, out)
}

// readAgain checks that the encodings are messages that encode the same.
func readAgain(m *cmw.Message, out cmwExpected) error {
	again, err := cmw.Decode(out.CBOR)
	if err != nil {
		return err
	}
	b, err := again.MarshalCBOR()
	if err != nil || !bytes.Equal(b, out.CBOR) || !again.Equal(m) {
		return errors.New("the CBOR encoding is another message")
	}
	if out.JSON == nil {
		return nil
	}
	if again, err = cmw.Decode(*out.JSON); err != nil {
		return err
	}
	if b, err = again.MarshalJSON(); err != nil || !bytes.Equal(b, *out.JSON) {
		return errors.New("the JSON encoding is another message")
	}
	return nil
}

// tagNumber is TN() of RFC 9277, Appendix B, for the Content-Formats that have one.
func tagNumber(contentFormat uint16) uint64 {
	ct := uint64(contentFormat)
	return 0x63740101 + (ct/255)*256 + ct%255
}

func cmwNode(m *cmw.Message) any {
	format, hasFormat := m.ContentFormat()
	switch m.Kind() {
	case cmw.KindTag:
		return cmwTag{"tag", tagNumber(format), optional(m.MediaType()), format, m.Value()}
	case cmw.KindRecord:
		r := cmwRecord{"record", optional(m.MediaType()), nil, m.Value(), uint32(m.Indicator())}
		if hasFormat {
			r.ContentFormat = &format
		}
		return r
	}
	c := cmwCollection{"collection", optional(m.CollectionType()), []cmwItem{}}
	for _, item := range m.Items() {
		var label cmwLabel
		if n, ok := item.Label.Int(); ok {
			s := strconv.FormatInt(n, 10)
			label.Int = &s
		} else {
			s, _ := item.Label.Text()
			label.Text = &s
		}
		c.Items = append(c.Items, cmwItem{label, cmwNode(item.Message)})
	}
	return c
}

// optional is nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
