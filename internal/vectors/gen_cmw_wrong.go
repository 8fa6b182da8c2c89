package vectors

import "strings"

func writeWrongCBOR(w cmwWriter) {
	for _, c := range []struct{ id, reason, comment, hex string }{
		{"empty", "empty", "zero bytes", ""},
		{"signed-cose", "signed", "COSE_Sign1 with its tag", "d28440a04001"},
		{"signed-cose-untagged", "signed", "COSE_Sign1 without a tag", "8440a0404101"},
		{"signed-item", "signed", "COSE_Sign1 as an item", "a16161d28440a0404101"},
		{"syntax-integer", "syntax", "an integer", "01"},
		{"syntax-array-1", "syntax", "an array of one", "8163612f62"},
		{"syntax-array-long-head", "syntax", "an array whose length is wider than needed", "980263612f624101"},
		{"syntax-record-1", "syntax", "an array of indefinite length with one element", "9f63612f62ff"},
		{"syntax-record-4", "syntax", "an array of indefinite length with four elements", "9f63612f6241010401ff"},
		{"syntax-truncated", "syntax", "the value ends early", "8263612f624201"},
		{"syntax-no-break", "syntax", "no end of an array of indefinite length", "9f63612f624101"},
		{"syntax-item", "syntax", "an item that is text", "a161616162"},
		{"syntax-tag-empty", "syntax", "a tag without content", "da63740208"},
		{"syntax-map-odd", "syntax", "a label without item", "a16161"},
		{"trailing-byte", "trailing", "a byte follows the record", "8263612f62410100"},
		{"trailing-message", "trailing", "a second record", "8263612f6241018263612f624101"},
		{"too-deep", "too-deep", "five levels", "a16161a16162a16163a161648263612f624101"},
		{"too-deep-tag", "too-deep", "five levels, the last a tag", "a16161a16162a16163a16164da637402084101"},
		{"tag-foreign", "tag", "tag 24", "d818420102"},
		{"tag-cwt", "tag", "tag 61 (CWT)", "d83d4101"},
		{"tag-below", "tag", "one below TN(0)", "da637401004101"},
		{"tag-above", "tag", "one above TN(65024)", "da637500004101"},
		{"tag-gap", "tag", "not the image of a Content-Format", "da637402004101"},
		{"tag-64-bit", "tag", "a tag number of eight bytes", "db00000000637402084101"},
		{"ambiguous-274", "ambiguous-tag", "signed-cbor-cmw in the tag table, TN(274) by formula", "da637402144101"},
		{"ambiguous-275", "ambiguous-tag", "json-collection in the tag table, TN(275) by formula", "da637402154101"},
		{"type-empty", "media-type", "an empty media type", "82604101"},
		{"type-no-slash", "media-type", "no subtype", "8261614101"},
		{"type-space", "media-type", "a space in the subtype", "8265612f6220634101"},
		{"type-65536", "media-type", "Content-Format 65536", "821a000100004101"},
		{"type-negative", "media-type", "a negative number", "82204101"},
		{"type-bytes", "media-type", "a byte string", "8243612f624101"},
		{"type-indefinite", "media-type", "text in chunks", "827f63612f62ff4101"},
		{"value-text", "value", "text", "8263612f626101"},
		{"value-null", "value", "null", "8263612f62f6"},
		{"value-array", "value", "an array of numbers", "8263612f628101"},
		{"value-indefinite", "value", "bytes in chunks", "8263612f625f4101ff"},
		{"value-tag-text", "value", "a tag over text", "da637402086101"},
		{"value-empty", "empty-value", "zero bytes in a record", "8263612f6240"},
		{"value-empty-tag", "empty-value", "zero bytes in a tag", "da6374020840"},
		{"indicator-0", "indicator", "no bit", "8363612f62410100"},
		{"indicator-32", "indicator", "a bit that is not registered", "8363612f6241011820"},
		{"indicator-negative", "indicator", "a negative number", "8363612f62410120"},
		{"indicator-text", "indicator", "text", "8363612f6241016134"},
		{"indicator-float", "indicator", "4.0", "8363612f624101f94400"},
		{"indicator-2-64", "indicator", "an integer of eight bytes", "8363612f6241011bffffffffffffffff"},
		{"label-empty", "label", "empty text", "a1608263612f624101"},
		{"label-blank", "label", "spaces", "a16220208263612f624101"},
		{"label-bytes", "label", "a byte string", "a141018263612f624101"},
		{"label-bool", "label", "true", "a1f58263612f624101"},
		{"label-65-bit", "label", "beyond the range of int64", "a11b80000000000000008263612f624101"},
		{"duplicate-text", "duplicate-label", "a text label twice", "a261618263612f62410161618263612f624102"},
		{"duplicate-integer", "duplicate-label", "an integer label twice, in two widths", "a2018263612f62410118018263612f624102"},
		{"type-relative", "collection-type", "a relative reference", "a2685f5f636d77635f746461626364" + "61618263612f624101"},
		{"type-integer", "collection-type", "a number", "a2685f5f636d77635f7401" + "61618263612f624101"},
		{"type-fragment", "collection-type", "a URI with a fragment", "a2685f5f636d77635f7463613a2361618263612f624101"},
		{"collection-empty", "empty-collection", "an empty map", "a0"},
		{"collection-type-only", "empty-collection", "a type and no item", "a1685f5f636d77635f7465322e393939"},
		{"collection-empty-inner", "empty-collection", "an item that is an empty collection", "a16161a0"},
	} {
		w.invalid(c.id, c.reason, c.comment, unhex(c.hex))
	}
	large := concat(unhex("8263612f6259fff2"), make([]byte, 0xfff2))
	w.invalid("too-large", "too-large", "65530 bytes", large)
	wire := []byte{0xb1}
	for i := range 17 {
		wire = concat(wire, []byte{byte(i)}, unhex("8263612f624101"))
	}
	w.invalid("too-many-leaves", "too-many-leaves", "17 leaves", wire)
}

func writeWrongJSON(w cmwWriter) {
	for _, c := range []struct{ id, reason, comment, text string }{
		{"json-signed-compact", "signed", "JWS compact serialization", "eyJhbGciOiJFUzI1NiJ9.e30.AA"},
		{"json-signed-flattened", "signed", "JWS flattened JSON serialization", `{"payload":"e30","protected":"e30","signature":"AA"}`},
		{"json-null", "syntax", "null", "null"},
		{"json-array-1", "syntax", "an array of one", `["a/b"]`},
		{"json-array-4", "syntax", "an array of four", `["a/b","AQ",4,5]`},
		{"json-truncated", "syntax", "the array does not end", `["a/b","AQ"`},
		{"json-comma", "syntax", "a comma too many", `["a/b","AQ",]`},
		{"json-item-text", "syntax", "an item that is text", `{"a":"b"}`},
		{"json-leading-space", "syntax", "white space before the message", ` ["a/b","AQ"]`},
		{"json-trailing-newline", "trailing", "a line break after the message", "[\"a/b\",\"AQ\"]\n"},
		{"json-trailing-message", "trailing", "a second record", `["a/b","AQ"]["a/b","AQ"]`},
		{"json-too-deep", "too-deep", "five levels", `{"a":{"b":{"c":{"d":["a/b","AQ"]}}}}`},
		{"json-too-many-leaves", "too-many-leaves", "17 leaves", seventeen()},
		{"json-type-number", "media-type", "a Content-Format", `[263,"AQ"]`},
		{"json-type-empty", "media-type", "an empty media type", `["","AQ"]`},
		{"json-type-parameter-twice", "media-type", "a parameter twice", `["a/b; p=1; p=1","AQ"]`},
		{"json-type-backslash", "media-type", "a backslash in a quoted string", `["a/b; p=\"\\\\\"","AQ"]`},
		{"json-type-extended", "media-type", "an RFC 2231 parameter", `["a/b; p*=utf-8''x","AQ"]`},
		{"json-value-padded", "value", "padding", `["a/b","AQ=="]`},
		{"json-value-base64", "value", "the alphabet of base64", `["a/b","+/+/"]`},
		{"json-value-bits", "value", "trailing bits that are not zero", `["a/b","AR"]`},
		{"json-value-length", "value", "one character too many", `["a/b","AQAAA"]`},
		{"json-value-line-break", "value", "a line break", `["a/b","A\nQ"]`},
		{"json-value-number", "value", "a number", `["a/b",5]`},
		{"json-value-true", "value", "true", `["a/b",true]`},
		{"json-value-null", "value", "null", `["a/b",null]`},
		{"json-value-empty", "empty-value", "empty text", `["a/b",""]`},
		{"json-indicator-0", "indicator", "no bit", `["a/b","AQ",0]`},
		{"json-indicator-32", "indicator", "a bit that is not registered", `["a/b","AQ",32]`},
		{"json-indicator-float", "indicator", "4.0", `["a/b","AQ",4.0]`},
		{"json-indicator-exponent", "indicator", "4e0", `["a/b","AQ",4e0]`},
		{"json-indicator-text", "indicator", "text", `["a/b","AQ","4"]`},
		{"json-label-empty", "label", "empty text", `{"":["a/b","AQ"]}`},
		{"json-label-surrogate", "label", "an unpaired surrogate", `{"\ud800":["a/b","AQ"]}`},
		{"json-duplicate", "duplicate-label", "a label twice", `{"a":["a/b","AQ"],"a":["a/b","Ag"]}`},
		{"json-duplicate-escaped", "duplicate-label", "a label twice, once with an escape", `{"a":["a/b","AQ"],"\u0061":["a/b","Ag"]}`},
		{"json-collection-type", "collection-type", "a relative reference", `{"__cmwc_t":"b","a":["a/b","AQ"]}`},
		{"json-collection-type-record", "collection-type", "a record", `{"__cmwc_t":["a/b","AQ"]}`},
		{"json-collection-type-twice", "duplicate-label", "__cmwc_t twice", `{"__cmwc_t":"2.999","__cmwc_t":"2.999","a":["a/b","AQ"]}`},
		{"json-collection-empty", "empty-collection", "an empty object", `{}`},
		{"json-collection-type-only", "empty-collection", "a type and no item", `{"__cmwc_t":"2.999"}`},
	} {
		w.invalid(c.id, c.reason, c.comment, []byte(c.text))
	}
}

func seventeen() string {
	var items []string
	for i := range 17 {
		items = append(items, `"`+string(rune('a'+i))+`":["a/b","AQ"]`)
	}
	return "{" + strings.Join(items, ",") + "}"
}

func writeAttestation(_ *pki, w *writer) {
	evidence := unhex("8363612f62410104")    // ["a/b", h'01', 4]
	asFormat := unhex("831901074101" + "04") // [263, h'01', 4]
	ext := func(data []byte) Extension { return Extension{extCMW, data} }
	right := func(id, comment string, cmw []byte, accept []string, leaves ...cmwLeaf) {
		in := attestationInput{&Bytes{}, [][]Extension{{ext(u16(cmw))}}, accept}
		w.valid(id, comment, in, attestationExpected{cmw, leaves})
	}
	ab := []string{"a/b"}
	leaf := cmwLeaf{"a/b", []byte{1}, 4}
	right("record-evidence", "one record, Evidence", evidence, ab, leaf)
	right("record-result", "one record, an Attestation Result", unhex("8363612f62410108"), ab, cmwLeaf{"a/b", []byte{1}, 8})
	right("record-no-indicator", "the indicator may be absent", unhex("8263612f624101"), ab, cmwLeaf{"a/b", []byte{1}, 0})
	right("record-json", "JSON", []byte(`["a/b","AQ",4]`), ab, leaf)
	right("record-format", "by Content-Format", asFormat, []string{"application/eat+cwt"}, cmwLeaf{"application/eat+cwt", []byte{1}, 4})
	right("tag", "by tag", unhex("da637402094101"), []string{"application/eat+cwt"}, cmwLeaf{"application/eat+cwt", []byte{1}, 0})
	right("collection", "two leaves", unhex("a261618363612f6241010461628363612f62410204"), ab, leaf, cmwLeaf{"a/b", []byte{2}, 4})
	right("accept-case", "media types are compared without regard to case", evidence, []string{"A/B"}, leaf)
	right("accept-second", "one of two that are accepted", evidence, []string{"x/y", "a/b"}, leaf)
	w.valid("second-entry-empty", "an intermediate's entry without extensions", attestationInput{&Bytes{}, [][]Extension{{ext(u16(evidence))}, {}}, ab},
		attestationExpected{evidence, []cmwLeaf{leaf}})

	wrong := func(id, reason, comment string, offer *Bytes, entries ...[]Extension) {
		w.invalid(id, reason, comment, attestationInput{offer, entries, ab})
	}
	data := func(id, reason, comment string, data []byte) {
		wrong(id, reason, comment, &Bytes{}, []Extension{ext(data)})
	}
	message := func(id, reason, comment, hex string) { data(id, reason, comment, u16(unhex(hex))) }
	wrong("offer-cmw", reasonOffer, "the offer holds a CMW", hexPtr(u16(evidence)), []Extension{ext(u16(evidence))})
	wrong("offer-length", reasonOffer, "the offer holds a length of 0", hexPtr([]byte{0, 0}), []Extension{ext(u16(evidence))})
	wrong("twice", "illegal-extension", "twice in the leaf's entry", &Bytes{}, []Extension{ext(u16(evidence)), ext(u16(evidence))})
	wrong("not-offered", "not-offered", "in the leaf's entry without an offer", nil, []Extension{ext(u16(evidence))})
	wrong("not-offered-second", "not-offered", "in the second entry without an offer", nil, []Extension{}, []Extension{ext(u16(evidence))})
	wrong("placement-second", "placement", "in the second entry alone", &Bytes{}, []Extension{}, []Extension{ext(u16(evidence))})
	wrong("placement-both", "placement", "in the leaf's entry and in the second", &Bytes{}, []Extension{ext(u16(evidence))}, []Extension{ext(u16(evidence))})
	wrong("missing", "missing", "no entry has it", &Bytes{}, []Extension{})
	wrong("missing-not-offered", "missing", "not offered and not there: attestation is required all the same", nil, []Extension{})
	data("prefix-none", reasonLength, "the CMW without a length", evidence)
	data("prefix-empty-extension", reasonLength, "no data", []byte{})
	data("prefix-zero", reasonLength, "cmw_data of 0 bytes", []byte{0, 0})
	data("prefix-long", reasonLength, "the length is greater than what follows", concat([]byte{0, byte(len(evidence) + 1)}, evidence))
	data("prefix-short", reasonLength, "a byte follows cmw_data", concat(u16(evidence), []byte{0}))
	data("prefix-24-bit", reasonLength, "a length of three bytes", u24(evidence))
	data("prefix-twice", reasonCMW, "two lengths: the second is part of cmw_data", u16(u16(evidence)))
	message("cmw-integer", reasonCMW, "an integer", "01")
	message("cmw-duplicate", reasonCMW, "a collection with a label twice", "a261618263612f62410161618263612f624102")
	message("cmw-empty-collection", reasonCMW, "an empty collection", "a0")
	message("cmw-trailing", reasonCMW, "a byte follows the CMW inside cmw_data", "8363612f6241010400")
	data("cmw-private-json", reasonCMW, "JSON that is no CMW", u16([]byte(`{"version":1,"evidence":"AQ"}`)))
	message("kind-reference-values", reasonMessageKind, "Reference Values", "8363612f62410101")
	message("kind-endorsements", reasonMessageKind, "Endorsements", "8363612f62410102")
	message("kind-policy", reasonMessageKind, "an Appraisal Policy", "8363612f62410110")
	message("kind-two", reasonMessageKind, "Evidence and Endorsements in one record", "8363612f62410106")
	message("kind-in-collection", reasonMessageKind, "Endorsements beside Evidence", "a261618363612f6241010461628363612f62410202")
	message("type-other", "media-type", "a media type that is not accepted", "8363612f63410104")
	message("type-parameter", "media-type", "a parameter that was not named", "8367612f623b703d31410104")
	message("type-in-collection", "media-type", "one of two leaves is of another type", "a261618363612f6241010461628363612f63410204")
	message("type-unknown-format", "media-type", "a Content-Format without known media type", "8319fde7410104")
}
