package vectors

// scene is an exchange in the making: who does what, and what each side sends.
// play makes all frames; a case changes the scene, or the frames, or both.
type scene struct {
	p        *pki
	id       string
	conn     *Connection
	asks     map[string]bool   // who sends a REQUEST
	identity map[string]string // of the sides that attest
	lifetime map[string]uint64 // in the RESULT a side sends; 0: none
	request  map[string][]byte // what is asked, by the asker
	// authn and eat change what a side shows; sent is what its leaf's entry holds.
	authn func(side string, a *authn)
	eat   func(side string, e *eat)
	sent  func(evidence []byte) []Extension
	bound map[string]bindingExpected // by the attester
	err   error
}

func (p *pki) newScene(id string, conn *Connection, attesters ...string) *scene {
	s := &scene{
		p: p, id: id, conn: conn, asks: make(map[string]bool), identity: make(map[string]string),
		lifetime: make(map[string]uint64), request: make(map[string][]byte), bound: make(map[string]bindingExpected),
		authn: func(string, *authn) {}, eat: func(string, *eat) {},
		sent: func(evidence []byte) []Extension { return []Extension{{extCMW, u16(evidence)}} },
	}
	for _, side := range attesters {
		s.asks[otherSide(side)] = true
		s.identity[side] = side + "-p256"
	}
	for asker := range s.asks {
		s.request[asker] = encodeRequest(requestType(asker), s.context(asker),
			signatureAlgorithms(allSchemes...), Extension{Type: extStatusRequest}, Extension{Type: extCMW})
	}
	return s
}

func (s *scene) context(asker string) []byte { return requestContext(asker + " asks in " + s.id) }

func (s *scene) note(err error) {
	if s.err == nil {
		s.err = err
	}
}

func (s *scene) hello(side string) sentFrame {
	m := map[int]any{0: 1, 1: s.asks[side], 2: s.identity[side] != "", 4: 3, 6: defaultMaxAuthenticator}
	if s.asks[side] {
		m[3] = []string{simulatedType}
	}
	return s.cbor(side, frameHello, m)
}

func (s *scene) cbor(side string, typ byte, m any) sentFrame {
	b, err := coreDet.Marshal(m)
	s.note(err)
	return sentFrame{side, frame(typ, b)}
}

func (s *scene) ask(side string) sentFrame {
	return sentFrame{side, frame(frameRequest, s.request[side])}
}

func (s *scene) result(side string, code int) sentFrame {
	m := map[int]any{0: code}
	if s.lifetime[side] != 0 {
		m[1] = s.lifetime[side]
	}
	return s.cbor(side, frameResult, m)
}

func (s *scene) alert(side string, code byte) sentFrame {
	return sentFrame{side, frame(frameAlert, []byte{0, code})}
}

// authenticate makes the AUTHENTICATOR of a side.
func (s *scene) authenticate(side string) sentFrame {
	id := s.p.chains[s.identity[side]]
	context := s.context(otherSide(side))
	b, err := bind(s.conn, "expat-04", context, id.Certificate[0])
	s.note(err)
	s.bound[side] = b
	e := s.p.newEAT(b.Binder, b.KeyHash)
	s.eat(side, e)
	token, err := e.build()
	s.note(err)
	message, err := coreDet.Marshal([]any{simulatedType, token, 4})
	s.note(err)
	a := newAuthn(s.conn, side, s.request[otherSide(side)], context, id)
	s.note(a.exporters())
	a.extensions = [][]Extension{s.sent(message)}
	s.authn(side, a)
	out, err := a.build()
	s.note(err)
	return sentFrame{side, frame(frameAuthenticator, out)}
}

// refuse makes an empty authenticator.
func (s *scene) refuse(side string) sentFrame {
	before := s.authn
	defer func() { s.authn = before }()
	s.authn = func(_ string, a *authn) {
		a.certificates, a.extensions = nil, nil
		a.maced = func(certificate, _ []byte) []byte { return concat(a.handshakeContext, a.request, certificate) }
		a.assemble = func(_, _, finished []byte) []byte { return finished }
	}
	return s.authenticate(side)
}

// play is the exchange as it should be.
func (s *scene) play() []sentFrame {
	client, server := s.asks[sideClient], s.asks[sideServer]
	frames := []sentFrame{s.hello(sideClient)}
	if client {
		frames = append(frames, s.ask(sideClient))
	}
	frames = append(frames, s.hello(sideServer))
	if server {
		frames = append(frames, s.ask(sideServer))
	}
	if client {
		frames = append(frames, s.authenticate(sideServer), s.result(sideClient, 0))
	}
	if server {
		frames = append(frames, s.authenticate(sideClient), s.result(sideServer, 0))
	}
	return frames
}

// seen is the scene as one side saw it.
func (s *scene) seen(observer string, frames []sentFrame) transcriptInput {
	in := transcriptInput{
		Connection: *s.conn, Profile: "expat-04", Observer: observer, MaxAuthenticator: defaultMaxAuthenticator,
		X509Roots: []string{"x509-root"}, EvidenceRoots: []string{"evidence-root"}, Time: checkTime, Frames: frames,
	}
	if observer == sideClient {
		in.ServerName = ptr(serverName)
	}
	if id := s.identity[observer]; id != "" {
		in.Identity = &id
	}
	return in
}
