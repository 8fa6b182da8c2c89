package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Sources of examples from elsewhere.
const (
	sourceRFC9999  = "RFC 9999, examples of ietf-rats-wg/draft-ietf-rats-msg-wrap @f45f5a1 cddl/ (Revised BSD)"
	sourceVeraison = "veraison/cmw @0879f49 (Apache-2.0)"
)

// contentFormats is the table of the README.
var contentFormats = map[uint16]string{
	263: "application/eat+cwt", 264: "application/eat+jwt", 265: "application/eat-bun+cbor", 266: "application/eat-bun+json",
	267: "application/eat-ucs+cbor", 268: "application/eat-ucs+json", 273: "application/cmw+cbor", 274: "application/cmw+json",
	275: "application/cmw+cose", 276: "application/cmw+jws", 295: "application/measured-component+cbor", 296: "application/measured-component+json",
}

func record(mediaType string, value []byte, indicator uint32) cmwRecord {
	return cmwRecord{"record", &mediaType, nil, value, indicator}
}

func formatRecord(format uint16, value []byte, indicator uint32) cmwRecord {
	r := cmwRecord{"record", nil, &format, value, indicator}
	if mt, ok := contentFormats[format]; ok {
		r.MediaType = &mt
	}
	return r
}

func tag(number uint64, format uint16, value []byte) cmwTag {
	t := cmwTag{"tag", number, nil, format, value}
	if mt, ok := contentFormats[format]; ok {
		t.MediaType = &mt
	}
	return t
}

func collection(ctype string, items ...cmwItem) cmwCollection {
	return cmwCollection{"collection", optional(ctype), items}
}

func textItem(label string, m any) cmwItem { return cmwItem{cmwLabel{Text: &label}, m} }
func intItem(label int64, m any) cmwItem {
	s := strconv.FormatInt(label, 10)
	return cmwItem{cmwLabel{Int: &s}, m}
}

// coreDet is the core deterministic encoding of RFC 8949, Section 4.2.1.
var coreDet = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return m
}()

// plain turns a node into what a CBOR encoder takes.
func plain(node any) any {
	switch n := node.(type) {
	case cmwTag:
		return cbor.Tag{Number: n.Tag, Content: []byte(n.Value)}
	case cmwRecord:
		list := []any{n.MediaType, []byte(n.Value)}
		if n.ContentFormat != nil {
			list[0] = *n.ContentFormat
		}
		if n.Indicator != 0 {
			list = append(list, n.Indicator)
		}
		return list
	case cmwCollection:
		out := make(map[any]any)
		if n.CollectionType != nil {
			out["__cmwc_t"] = *n.CollectionType
		}
		for _, i := range n.Items {
			if i.Label.Text != nil {
				out[*i.Label.Text] = plain(i.Message)
				continue
			}
			number, err := strconv.ParseInt(*i.Label.Int, 10, 64)
			if err != nil {
				panic(err) // it was formatted from one
			}
			out[number] = plain(i.Message)
		}
		return out
	}
	panic(fmt.Sprintf("vectors: %T is no node", node))
}

// plainJSON turns a node into what a JSON encoder takes, nil if JSON cannot hold it.
func plainJSON(node any) any {
	switch n := node.(type) {
	case cmwRecord:
		if n.MediaType == nil {
			return nil
		}
		list := []any{*n.MediaType, base64URL(n.Value)}
		if n.Indicator != 0 {
			list = append(list, n.Indicator)
		}
		return list
	case cmwCollection:
		out := make(map[string]any)
		if n.CollectionType != nil {
			out["__cmwc_t"] = *n.CollectionType
		}
		for _, i := range n.Items {
			child := plainJSON(i.Message)
			if i.Label.Text == nil || child == nil {
				return nil
			}
			out[*i.Label.Text] = child
		}
		return out
	}
	return nil
}

// base64URL is RFC 4648, Section 5, without padding.
func base64URL(b []byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var out strings.Builder
	for i := 0; i < 8*len(b); i += 6 {
		v := 0
		for bit := i; bit < i+6; bit++ {
			v <<= 1
			if bit < 8*len(b) {
				v |= int(b[bit/8]>>(7-bit%8)) & 1
			}
		}
		out.WriteByte(alphabet[v])
	}
	return out.String()
}

// cmwWriter adds messages. The encodings expected are computed from the tree.
type cmwWriter struct{ *writer }

func (w cmwWriter) valid(id, comment string, message []byte, node any) {
	out := cmwExpected{Message: node}
	var err error
	out.CBOR, err = coreDet.Marshal(plain(node))
	w.fail(id, err)
	if p := plainJSON(node); p != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		w.fail(id, e.Encode(p))
		out.JSON = hexPtr(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	}
	w.writer.valid(id, comment, cmwInput{message}, out)
}

func (w cmwWriter) invalid(id, reason, comment string, message []byte) {
	w.writer.invalid(id, reason, comment, cmwInput{message})
}

// Values of the examples.
var (
	value2347 = unhex("2347da55")
	deadbeef  = unhex("deadbeef")
)

func writeCMW(_ *pki, plain *writer) {
	w := cmwWriter{plain}
	writeRFC9999(w)
	writeVeraison(w)
	writeRightCMW(w)
	writeWrongCBOR(w)
	writeWrongJSON(w)
}

func writeRFC9999(w cmwWriter) {
	const example = "application/vnd.example.rats-conceptual-msg"
	from := func(id, comment string, message []byte, node any) {
		w.valid(id, comment, message, node)
		w.from(sourceRFC9999)
	}
	from("rfc9999-json-record", "JSON record", []byte(`["application/vnd.example.rats-conceptual-msg","I0faVQ"]`), record(example, value2347, 0))
	from("rfc9999-cbor-record-format", "CBOR record, Content-Format 64999 (documentation)", unhex("8219fde7442347da55"), formatRecord(64999, value2347, 0))
	from("rfc9999-cbor-record-type", "CBOR record, media type", unhex("82782b6170706c69636174696f6e2f766e642e6578616d706c652e726174732d636f6e6365707475616c2d6d7367442347da55"), record(example, value2347, 0))
	from("rfc9999-tag", "CBOR tag", unhex("da6374ffe6442347da55"), tag(1668612070, 64999, value2347))
	from("rfc9999-tag-cbor", "CBOR tag whose value is CBOR", unhex("da6374ffe54ba10a48a7c76d8424a96fb4"), tag(1668612069, 64998, unhex("a10a48a7c76d8424a96fb4")))
	from("rfc9999-indicator-3", "indicator with two bits", unhex("83746170706c69636174696f6e2f72696d2b636f73654ad28440a044d901f5a04003"), record("application/rim+cose", unhex("d28440a044d901f5a040"), 3))
	from("rfc9999-cbor-collection", "integer labels, a record by number, a tag, a record by media type",
		unhex("a4685f5f636d77635f7478277461673a6578616d706c652e636f6d2c323032343a636f6d706f736974652d6174746573746572008319fde7442347da550401da6374ffe6442347da550283736170706c69636174696f6e2f6561742b6a7774432e2e2e08"),
		collection("tag:example.com,2024:composite-attester", intItem(0, formatRecord(64999, value2347, 4)),
			intItem(1, tag(1668612070, 64999, value2347)), intItem(2, record("application/eat+jwt", []byte("..."), 8))))
	from("rfc9999-json-collection", "text labels",
		[]byte(`{"__cmwc_t":"tag:example.com,2024:another-composite-attester","attester A":["application/eat-ucs+json","e30K",4],"attester B":["application/eat-ucs+cbor","oA",4]}`),
		collection("tag:example.com,2024:another-composite-attester", textItem("attester A", record("application/eat-ucs+json", []byte("{}\n"), 4)),
			textItem("attester B", record("application/eat-ucs+cbor", unhex("a0"), 4))))
}

func writeVeraison(w cmwWriter) {
	from := func(id, comment string, message []byte, node any) {
		w.valid(id, comment, message, node)
		w.from(sourceVeraison)
	}
	from("veraison-collection", "testdata/collection-cbor-ok.cbor", unhex("a30183781d6170706c69636174696f6e2f7369676e65642d636f72696d2b63626f7247d28443a10126a10302da63747632442347da55617382197531442347da55"),
		collection("", intItem(1, record("application/signed-corim+cbor", unhex("d28443a10126a1"), 3)),
			intItem(2, tag(1668576818, 29884, value2347)), textItem("s", formatRecord(30001, value2347, 0))))
	from("veraison-collection-2", "testdata/collection-cbor-ok-2.cbor", unhex("a10182716170706c69636174696f6e2f766e642e3144deadbeef"),
		collection("", intItem(1, record("application/vnd.1", deadbeef, 0))))
	from("veraison-mixed-keys", "testdata/collection-cbor-mixed-keys.cbor: Content-Format 0, and TN(0)", unhex("a266737472696e67820041ff190400da6374010141aa"),
		collection("", textItem("string", formatRecord(0, []byte{0xff}, 0)), intItem(1024, tag(1668546817, 0, []byte{0xaa}))))
	from("veraison-collection-json", "testdata/collection-ok.json", []byte(`{"a":["application/vnd.a","YQ"],"b":["application/vnd.b","Yg"]}`),
		collection("", textItem("a", record("application/vnd.a", []byte("a"), 0)), textItem("b", record("application/vnd.b", []byte("b"), 0))))
	from("veraison-sniff-record", "of the tests of its one-byte look-ahead", unhex("8219753144deadbeef"), formatRecord(30001, deadbeef, 0))
	from("veraison-sniff-tag", "of the tests of its one-byte look-ahead", unhex("da6374763244deadbeef"), tag(1668576818, 29884, deadbeef))
	from("veraison-example", "example_test.go", unhex("83781d6170706c69636174696f6e2f7369676e65642d636f72696d2b63626f724dd901f6d28440a044d901f5a04003"),
		record("application/signed-corim+cbor", unhex("d901f6d28440a044d901f5a040"), 3))
	from("veraison-bit-4", "bit 4 is Appraisal Policy in RFC 9999", []byte(`["application/corim+signed","3q2-7w",19]`), record("application/corim+signed", deadbeef, 19))
	w.invalid("veraison-json-number", "media-type", "JSON has no Content-Format (RFC 9999, Section 3.1)", []byte(`[30001,"3q2-7w"]`))
	w.from(sourceVeraison)
}

func writeRightCMW(w cmwWriter) {
	ab := record("a/b", []byte{1}, 0)
	for _, format := range []uint16{263, 264, 267, 268, 273, 276, 295} {
		number := 0x63740101 + uint64(format)/255*256 + uint64(format)%255
		w.valid(fmt.Sprintf("tag-%d", format), contentFormats[format]+" by tag", concat(unhex(fmt.Sprintf("da%08x", number)), unhex("4101")), tag(number, format, []byte{1}))
		w.valid(fmt.Sprintf("record-%d", format), contentFormats[format]+" by Content-Format", concat(unhex(fmt.Sprintf("8219%04x", format)), unhex("4101")), formatRecord(format, []byte{1}, 0))
	}
	w.valid("record-274", "as a record application/cmw+json is not ambiguous", unhex("821901124101"), formatRecord(274, []byte{1}, 0))
	w.valid("tag-last", "the last tag, TN(65024)", unhex("da6374ffff4101"), tag(1668612095, 65024, []byte{1}))
	w.valid("record-format-65535", "the greatest Content-Format", unhex("8219ffff4101"), formatRecord(65535, []byte{1}, 0))
	w.valid("record-evidence", "indicator 4", unhex("8363612f62410104"), record("a/b", []byte{1}, 4))
	w.valid("record-result", "indicator 8", unhex("8363612f62410108"), record("a/b", []byte{1}, 8))
	w.valid("record-indicator-31", "all five bits", unhex("8363612f624101181f"), record("a/b", []byte{1}, 31))
	w.valid("record-indefinite", "an array of indefinite length", unhex("9f63612f624101ff"), ab)
	w.valid("record-long-integers", "integers and lengths wider than needed", unhex("83191112580101190004"), formatRecord(0x1112, []byte{1}, 4))
	w.valid("collection-indefinite", "a map of indefinite length", unhex("bf61618263612f624101ff"), collection("", textItem("a", ab)))
	w.valid("collection-long-head", "a map whose length is wider than needed", unhex("b80161618263612f624101"), collection("", textItem("a", ab)))
	w.valid("collection-labels", "labels that differ by type or sign",
		unhex("a4"+"018263612f624101"+"61318263612f624101"+"208263612f624101"+"008263612f624101"),
		collection("", intItem(1, ab), textItem("1", ab), intItem(-1, ab), intItem(0, ab)))
	w.valid("collection-label-64-bit", "the range of int64", unhex("a21b7fffffffffffffff8263612f6241013b7fffffffffffffff8263612f624101"),
		collection("", intItem(math.MaxInt64, ab), intItem(math.MinInt64, ab)))
	w.valid("collection-oid", "a collection type that is an OID", unhex("a2685f5f636d77635f7465322e39393961618263612f624101"),
		collection("2.999", textItem("a", ab)))
	w.valid("collection-depth-4", "four levels", unhex("a16161a16162a161638263612f624101"),
		collection("", textItem("a", collection("", textItem("b", collection("", textItem("c", ab)))))))
	var sixteen []cmwItem
	wire := []byte{0xb0}
	for i := range 16 {
		sixteen = append(sixteen, intItem(int64(i), ab))
		wire = concat(wire, []byte{byte(i)}, unhex("8263612f624101"))
	}
	w.valid("collection-16-leaves", "sixteen leaves", wire, collection("", sixteen...))
	w.valid("media-type-parameter", "a parameter in quotes", []byte(`["application/eat+cwt; eat_profile=\"https://example.com/p\"","AQ",4]`),
		record(`application/eat+cwt; eat_profile="https://example.com/p"`, []byte{1}, 4))
	w.valid("json-white-space", "white space inside the message", []byte("[ \"a/b\" ,\n\"AQ\" ]"), ab)
	w.valid("json-escapes", "escapes in strings", []byte(`{"\u0061":["a\/b","AQ"]}`), collection("", textItem("a", ab)))
	w.valid("json-base64url", "both characters in which base64url differs from base64", []byte(`["a/b","-_-_"]`), record("a/b", unhex("fbffbf"), 0))
	w.valid("json-nested", "a collection in a collection", []byte(`{"a":{"b":["a/b","AQ"]}}`), collection("", textItem("a", collection("", textItem("b", ab)))))
	w.valid("json-label-not-ascii", "labels are Unicode text", []byte(`{"é":["a/b","AQ"],"z":["a/b","AQ"]}`), collection("", textItem("é", ab), textItem("z", ab)))
	w.valid("json-jws-names", "members that are named as in a JWS and hold CMWs", []byte(`{"payload":["a/b","AQ"]}`), collection("", textItem("payload", ab)))
}
