// Package cmw reads and writes RATS Conceptual Message Wrappers (RFC 9999): the
// envelope in which Evidence and Attestation Results travel. It says what a
// message is called and where it ends; it never says that a message is true.
//
// A CMW is a tree (RFC 9999 §3). Its leaves are Records (§3.1: media type or CoAP
// Content-Format, value, optional indicator) and Tags (§3.2: a CBOR tag derived from
// a Content-Format). Its inner nodes are Collections (§3.3: labelled items). Records
// and Collections exist in CBOR and JSON, Tags in CBOR only.
//
// [Decode] reads both serializations and tells them apart by the first byte, as
// RFC 9999 §3 describes. It is strict, because its input comes from an
// unauthenticated peer: each rule below has its own error, checked before the bytes
// reach the wire library github.com/veraison/cmw.
//
//   - at most [MaxSize] bytes, [MaxDepth] levels and [MaxLeaves] leaves;
//   - nothing before or after the message, white space included;
//   - arrays and maps of definite or indefinite length, but strings of definite length
//     only: a message in chunks has many encodings and no sender needs them;
//   - labels are unique, text or (CBOR) integer, and not empty; "__cmwc_t" is nothing
//     but the collection type, an absolute URI (RFC 3986 §4.3) or an OID;
//   - no collection is empty, no value is empty, no indicator is zero or beyond the five
//     registered bits (§3.1);
//   - media types follow the Content-Type grammar of RFC 9193, without the two escapes
//     (backslash in quoted strings, RFC 2231 parameter names) that would give one media
//     type two meanings;
//   - JSON values are unpadded base64url (RFC 4648 §5) with zero trailing bits.
//
// A Record typed by a Content-Format that this package does not know is kept, with an
// empty media type that matches nothing; [Message.ContentFormat] tells the number. The
// value of a leaf is opaque: a CMW carried inside it is not looked at and counts as one
// leaf.
//
// Two things are refused by name. Signed CMWs (RFC 9999 §4) are [ErrSigned]: the
// authenticator that carries the message is signed already. The tags 1668547092 and
// 1668547093 are [ErrAmbiguousTag]: the tag table of RFC 9999 gives them to
// signed-cbor-cmw and json-collection, TN() and the Content-Format table to
// application/cmw+json and application/cmw+cose. They are neither read nor written.
//
// Encoding is deterministic (RFC 8949 §4.2.1 for CBOR, sorted labels for JSON), so two
// messages that are [Message.Equal] have the same bytes.
//
// No error of this package repeats bytes of the message, so errors may be logged where
// Evidence may not.
package cmw
