package expat

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/expat-go/expat/internal/bounded"
)

// harden makes a copy of a TLS configuration in which nothing can weaken a
// connection that is to be attested: TLS 1.3, a full handshake each time, our
// ALPN names only.
func harden(c *tls.Config, names []string) *tls.Config {
	h := c.Clone()
	h.MinVersion, h.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	h.NextProtos = names
	h.SessionTicketsDisabled = true // a server sends no NewSessionTicket
	h.ClientSessionCache = nil      // a client keeps none
	h.WrapSession, h.UnwrapSession = nil, nil
	h.Renegotiation = tls.RenegotiateNever
	return h
}

// clientTLS is the configuration of a client.
func (p *prepared) clientTLS(names []string) *tls.Config {
	h := harden(p.TLS, names)
	if get := h.GetClientCertificate; get != nil {
		h.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			ctx, cancel := p.within(info.Context())
			defer cancel()
			return bounded.Call(ctx, func() (*tls.Certificate, error) { return get(info) })
		}
	}
	p.supplyClient(h)
	p.clientByURI(h)
	if len(p.PinnedServerKeys) > 0 {
		verify := h.VerifyConnection
		h.InsecureSkipVerify = true // the pin is compared in its place
		h.VerifyConnection = func(cs tls.ConnectionState) error {
			if err := p.checkPin(cs); err != nil || verify == nil {
				return err
			}
			return verify(cs)
		}
	}
	return h
}

func (p *prepared) checkPin(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	got := sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo)
	found := 0
	for _, want := range p.PinnedServerKeys {
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	if found == 0 {
		return errors.New("the key of the server's certificate is not in PinnedServerKeys")
	}
	return nil
}

// link is the net.Conn under a server's tls.Conn. It lets callbacks of crypto/tls find
// the Conn they are called for.
type link struct {
	net.Conn
	conn *Conn
}

// Read notes the end of the connection under TLS: crypto/tls takes it for the end
// of the stream if it comes between two records.
func (l *link) Read(b []byte) (int, error) { return l.conn.readUnder(b) }

// Write lets none of a long Write leave once a verdict has run out.
func (l *link) Write(b []byte) (int, error) { return l.conn.writeUnder(b) }

// clientLink is the same under a client's.
type clientLink struct {
	net.Conn
	conn *Conn
}

func (l *clientLink) Read(b []byte) (int, error) { return l.conn.readUnder(b) }

func (l *clientLink) Write(b []byte) (int, error) { return l.conn.writeUnder(b) }

// readUnder reads for TLS. What arrives once a verdict has run out is dropped
// here, since the bare TLS connection would deliver it. With mux the pump does so.
func (c *Conn) readUnder(b []byte) (int, error) {
	n, err := c.net.Read(b)
	if c.lapsed() && c.mux == nil {
		return 0, c.cause()
	}
	if err == io.EOF {
		c.cut.Store(true)
	}
	return n, err
}

// writeUnder writes for TLS. What ends a connection passes: close_notify, and with mux
// the reason.
func (c *Conn) writeUnder(b []byte) (int, error) {
	if c.phase.Load() == phaseOpen && c.mux == nil && c.lapsed() {
		return 0, c.cause()
	}
	return c.net.Write(b)
}

// serverTLS is the configuration of a server. Its callbacks record on the Conn
// which configuration and which certificate served it.
func (p *prepared) serverTLS(names []string) *tls.Config {
	h := p.hardenServer(harden(p.TLS, names))
	choose := p.TLS.GetConfigForClient
	h.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		o, err := originOf(info)
		if err != nil {
			return nil, err
		}
		o.hardened, o.foreign = true, isForeign(info, names)
		if choose == nil {
			return nil, nil
		}
		ctx, cancel := p.within(info.Context())
		defer cancel()
		chosen, err := bounded.Call(ctx, func() (*tls.Config, error) { return choose(userInfo(info)) })
		if err != nil || chosen == nil {
			return nil, err
		}
		// The names stay ours: what the two sides speak is not the
		// callback's to change.
		o.served = p.hardenServer(harden(chosen, names))
		return o.served, nil
	}
	return h
}

// isForeign tells a client that cannot speak expat/1 with us from one whose TLS
// handshake fails for another reason: crypto/tls has no typed errors for that.
func isForeign(info *tls.ClientHelloInfo, names []string) bool {
	ours := func(name string) bool { return slices.Contains(names, name) }
	return !slices.Contains(info.SupportedVersions, tls.VersionTLS13) || !slices.ContainsFunc(info.SupportedProtos, ours)
}

// hardenServer makes a server's configuration follow the Config, and GetCertificate
// remember what it returned.
func (p *prepared) hardenServer(h *tls.Config) *tls.Config {
	if get := h.GetCertificate; get != nil {
		h.GetCertificate = func(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
			ctx, cancel := p.within(info.Context())
			defer cancel()
			return bounded.Call(ctx, func() (*tls.Certificate, error) { return get(userInfo(info)) })
		}
	}
	p.supplyServer(h)
	p.serverByURI(h)
	if get := h.GetCertificate; get != nil {
		h.GetCertificate = func(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
			o, err := originOf(info)
			if err != nil {
				return nil, err
			}
			o.shown, err = get(info)
			return o.shown, err
		}
	}
	return h
}

// userInfo shows a callback the net.Conn that the user gave us.
func userInfo(info *tls.ClientHelloInfo) *tls.ClientHelloInfo {
	l, ok := info.Conn.(*link)
	if !ok {
		return info
	}
	theirs := *info
	theirs.Conn = l.Conn
	return &theirs
}

// checkNegotiated demands what every rule of the exchange builds on, whatever
// the TLS configuration said.
func checkNegotiated(cs tls.ConnectionState) error {
	switch {
	case cs.Version != tls.VersionTLS13:
		return fmt.Errorf("%w: version is %s, want TLS 1.3", ErrNegotiation, tls.VersionName(cs.Version))
	case cs.DidResume:
		return fmt.Errorf("%w: the TLS session was resumed", ErrNegotiation)
	}
	_, err := applicationProtocol(cs.NegotiatedProtocol)
	return err
}

// applicationProtocol takes the application's protocol out of an ALPN name.
func applicationProtocol(name string) (string, error) {
	if name == alpnPrefix {
		return "", nil
	}
	if p, ok := strings.CutPrefix(name, alpnPrefix+"+"); ok && p != "" {
		return p, nil
	}
	return "", fmt.Errorf("%w: ALPN is %q; does the peer require attestation too?", ErrNegotiation, name)
}

// alpnPrefix is what every ALPN name of ours begins with. It is negotiated in
// the TLS handshake and so cannot be stripped.
const alpnPrefix = "expat/1"

// offerNames turns application protocols into ALPN names.
func offerNames(protocols []string) ([]string, error) {
	if len(protocols) == 0 {
		return []string{alpnPrefix}, nil
	}
	var names []string
	for _, p := range protocols {
		name := alpnPrefix + "+" + p
		if p == "" || len(name) > 255 {
			return nil, fmt.Errorf("application protocol %q must be 1 to %d bytes", p, 255-len(alpnPrefix)-1)
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("application protocol %q occurs twice", p)
		}
		names = append(names, name)
	}
	return names, nil
}
