package authenticator

import (
	"crypto/tls"
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Extension is one TLS extension (RFC 8446, Section 4.2). Data is opaque here.
type Extension struct {
	Type uint16
	Data []byte // at most 65535 bytes
}

// Extension types of the IANA registry that this package understands.
const (
	extServerName              uint16 = 0
	extStatusRequest           uint16 = 5
	extSignatureAlgorithms     uint16 = 13
	extSCT                     uint16 = 18
	extCertificateAuthorities  uint16 = 47
	extOIDFilters              uint16 = 48
	extSignatureAlgorithmsCert uint16 = 50
)

// notInRequest lists the extensions that have no place in a CertificateRequest:
// those of RFC 8446, Section 4.2, and the others of the IANA registry that TLS
// stacks send, whose column "TLS 1.3" lacks CR. RFC 9261, Section 4, takes over
// that rule, but for server_name in a ClientCertificateRequest. Types that are in
// no list are unknown to us and ignored (RFC 9261, Section 5.2.1).
var notInRequest = []uint16{
	1,      // max_fragment_length
	10,     // supported_groups
	11,     // ec_point_formats
	14,     // use_srtp
	15,     // heartbeat
	16,     // application_layer_protocol_negotiation
	19,     // client_certificate_type
	20,     // server_certificate_type
	21,     // padding
	22,     // encrypt_then_mac
	23,     // extended_master_secret
	28,     // record_size_limit
	35,     // session_ticket
	41,     // pre_shared_key
	42,     // early_data
	43,     // supported_versions
	44,     // cookie
	45,     // psk_key_exchange_modes
	49,     // post_handshake_auth
	51,     // key_share
	54,     // connection_id
	57,     // quic_transport_parameters
	0xfe0d, // encrypted_client_hello
	0xff01, // renegotiation_info
}

// notInCertificate lists the extensions this package understands that are for
// requests alone, so that offering them allows no answer (RFC 8446, Section 4.2).
var notInCertificate = []uint16{
	extServerName,
	extSignatureAlgorithms,
	extCertificateAuthorities,
	extOIDFilters,
	extSignatureAlgorithmsCert,
}

// OIDFilter asks for a certificate extension (RFC 8446, Section 4.2.5). Only key
// usage and extended key usage have rules for matching; a responder ignores
// filters of other extensions, as Section 4.2.5 demands.
type OIDFilter struct {
	OID    asn1.ObjectIdentifier
	Values []byte // DER of the extension's value; empty: any value
}

// readExtensions reads a length-prefixed extension block in which every type
// occurs once (RFC 8446, Section 4.2). The result shares memory with s.
func readExtensions(s *cryptobyte.String) ([]Extension, error) {
	var block cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&block) {
		return nil, ErrDecode
	}
	var out []Extension
	for !block.Empty() {
		var e Extension
		var data cryptobyte.String
		if !block.ReadUint16(&e.Type) || !block.ReadUint16LengthPrefixed(&data) {
			return nil, ErrDecode
		}
		e.Data = data
		out = append(out, e)
	}
	if t, dup := duplicate(out); dup {
		return nil, reason(ErrIllegalExtension, "extension %d occurs twice", t)
	}
	return out, nil
}

// duplicate finds a type that occurs twice.
func duplicate(list []Extension) (uint16, bool) {
	if len(list) <= 8 { // the usual case needs no memory
		for i, e := range list {
			if find(list[:i], e.Type) != nil {
				return e.Type, true
			}
		}
		return 0, false
	}
	seen := make(map[uint16]struct{}, len(list))
	for _, e := range list {
		if _, dup := seen[e.Type]; dup {
			return e.Type, true
		}
		seen[e.Type] = struct{}{}
	}
	return 0, false
}

// find returns the extension of a type, or nil.
func find(list []Extension, typ uint16) *Extension {
	for i := range list {
		if list[i].Type == typ {
			return &list[i]
		}
	}
	return nil
}

// extensionsSize is the length of an encoded block without its own prefix.
func extensionsSize(list []Extension) int {
	n := 0
	for _, e := range list {
		n += 4 + len(e.Data)
	}
	return n
}

// checkSizes refuses extensions that do not fit their length fields.
func checkSizes(list []Extension) error {
	for _, e := range list {
		if len(e.Data) > 0xffff {
			return reason(ErrLimit, "extension %d has %d bytes, at most 65535 fit", e.Type, len(e.Data))
		}
	}
	if n := extensionsSize(list); n > 0xffff {
		return reason(ErrLimit, "extensions have %d bytes together, at most 65535 fit", n)
	}
	return nil
}

// appendExtensions encodes a block that passed checkSizes.
func appendExtensions(b []byte, list []Extension) []byte {
	b = appendUint16(b, extensionsSize(list))
	for _, e := range list {
		b = appendUint16(b, int(e.Type))
		b = appendUint16(b, len(e.Data))
		b = append(b, e.Data...)
	}
	return b
}

func appendUint16(b []byte, n int) []byte { return append(b, byte(n>>8), byte(n)) }
func appendUint24(b []byte, n int) []byte { return append(b, byte(n>>16), byte(n>>8), byte(n)) }

// offer is what a requester said it accepts: the parsed extensions of a
// request, or of a ClientHello for a spontaneous authenticator.
type offer struct {
	types       []uint16 // of every extension present
	schemes     []tls.SignatureScheme
	schemesCert []tls.SignatureScheme // nil: schemes govern (RFC 8446, Section 4.2.3)
	serverName  string
	authorities [][]byte // DER of distinguished names
	oidFilters  []OIDFilter
}

func (o *offer) has(typ uint16) bool { return slices.Contains(o.types, typ) }

// parseOffer reads the extensions of a request that this package understands.
func parseOffer(list []Extension, typ uint8) (*offer, error) {
	o := &offer{types: make([]uint16, 0, len(list))}
	for _, e := range list {
		o.types = append(o.types, e.Type)
		if slices.Contains(notInRequest, e.Type) || (e.Type == extServerName && typ != typeClientCertificateRequest) {
			return nil, reason(ErrIllegalExtension, "extension %d in a request", e.Type)
		}
		if !o.read(e) {
			return nil, fmt.Errorf("%w: extension %d", ErrDecode, e.Type)
		}
	}
	if o.schemes == nil {
		return nil, ErrMissingExtension
	}
	return o, nil
}

// read parses one extension; types it does not know are well formed.
func (o *offer) read(e Extension) bool {
	s := cryptobyte.String(e.Data)
	switch e.Type {
	case extServerName:
		return readServerName(s, &o.serverName)
	case extSignatureAlgorithms:
		return readSchemes(s, &o.schemes)
	case extSignatureAlgorithmsCert:
		return readSchemes(s, &o.schemesCert)
	case extCertificateAuthorities:
		return readAuthorities(s, &o.authorities)
	case extOIDFilters:
		return readOIDFilters(s, &o.oidFilters)
	case extStatusRequest, extSCT:
		return s.Empty() // RFC 8446, Section 4.4.2.1
	}
	return true
}

func readSchemes(s cryptobyte.String, out *[]tls.SignatureScheme) bool {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return false
	}
	schemes := make([]tls.SignatureScheme, 0, len(list)/2)
	for !list.Empty() {
		var v uint16
		if !list.ReadUint16(&v) {
			return false
		}
		schemes = append(schemes, tls.SignatureScheme(v))
	}
	*out = schemes
	return true
}

// readServerName reads a list of exactly one host_name (RFC 6066, Section 3).
func readServerName(s cryptobyte.String, out *string) bool {
	var list, name cryptobyte.String
	var typ uint8
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() ||
		!list.ReadUint8(&typ) || typ != 0 ||
		!list.ReadUint16LengthPrefixed(&name) || name.Empty() || !list.Empty() {
		return false
	}
	*out = string(name)
	return true
}

func readAuthorities(s cryptobyte.String, out *[][]byte) bool {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var name cryptobyte.String
		if !list.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return false
		}
		*out = append(*out, name)
	}
	return true
}

// readOIDFilters keeps the filters that have a rule for matching. The others need
// only be well formed, and may name an OID beyond what encoding/asn1 reads.
func readOIDFilters(s cryptobyte.String, out *[]OIDFilter) bool {
	var list cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&list) || !s.Empty() {
		return false
	}
	seen := make(map[string]struct{})
	for !list.Empty() {
		var der, oid, values cryptobyte.String
		if !list.ReadUint8LengthPrefixed(&der) || !list.ReadUint16LengthPrefixed(&values) ||
			!der.ReadASN1(&oid, cryptobyteasn1.OBJECT_IDENTIFIER) || !der.Empty() || oid.Empty() {
			return false
		}
		if _, dup := seen[string(oid)]; dup {
			return false // RFC 8446, Section 4.2.5: an OID occurs once
		}
		seen[string(oid)] = struct{}{}
		switch string(oid) {
		case derKeyUsage:
			*out = append(*out, OIDFilter{oidKeyUsage, values})
		case derExtKeyUsage:
			*out = append(*out, OIDFilter{oidExtKeyUsage, values})
		}
	}
	return true
}
