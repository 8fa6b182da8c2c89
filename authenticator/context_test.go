package authenticator

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// E-9: one context, one use, across both directions, both request
// types and unasked authenticators.
func TestContextUsedOnce(t *testing.T) {
	t.Parallel()
	same := RequestOptions{Context: []byte("the same context in every request")}
	empty := RequestOptions{Context: []byte{}}
	clientAsks := func(t *testing.T, p pair) { ask(t, p.client, p.server, same) }
	serverAsks := func(t *testing.T, p pair) { ask(t, p.server, p.client, same) }
	for _, tc := range []struct {
		name  string
		first func(*testing.T, pair)
		again func(pair) error
		op    Op
		fault Fault
	}{
		{"asked twice", clientAsks, func(p pair) error { _, err := p.client.NewRequest(same); return err }, OpRequest, FaultLocal},
		{"asked back", clientAsks, func(p pair) error { _, err := p.server.NewRequest(same); return err }, OpRequest, FaultLocal},
		{"received twice", clientAsks, func(p pair) error {
			_, err := p.server.ReceiveRequest(appendRequest(17, same.Context, []Extension{schemesExtension}))
			return err
		}, OpAuthenticate, FaultPeer},
		{"own context comes back as a request", clientAsks, func(p pair) error {
			_, err := p.client.ReceiveRequest(appendRequest(13, same.Context, []Extension{schemesExtension}))
			return err
		}, OpAuthenticate, FaultPeer},
		{"the other way round", serverAsks, func(p pair) error {
			_, err := p.server.ReceiveRequest(appendRequest(17, same.Context, []Extension{schemesExtension}))
			return err
		}, OpAuthenticate, FaultPeer},
		{"empty context twice", func(t *testing.T, p pair) { ask(t, p.client, p.server, empty) },
			func(p pair) error { _, err := p.client.NewRequest(empty); return err }, OpRequest, FaultLocal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := exporterPair(t)
			tc.first(t, p)
			requireError(t, tc.again(p), ErrContextReuse, tc.op, tc.fault)
		})
	}
}

// an unasked authenticator is taken once, and not where its context was
// in a request.
func TestSpontaneousContextUsedOnce(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	b := spontaneous(t, p.server)
	_, err := p.client.ValidateSpontaneous(hello(), b, anyChain)
	require.NoError(t, err)
	_, err = p.client.ValidateSpontaneous(hello(), b, anyChain)
	requireError(t, err, ErrContextReuse, OpValidate, FaultPeer)

	b = spontaneous(t, p.server)
	certContext := must(Context(b))
	_, err = p.server.NewRequest(RequestOptions{Context: certContext})
	requireError(t, err, ErrContextReuse, OpRequest, FaultLocal)
	_, err = p.client.NewRequest(RequestOptions{Context: certContext})
	require.NoError(t, err)
	_, err = p.client.ValidateSpontaneous(hello(), b, anyChain)
	requireError(t, err, ErrContextReuse, OpValidate, FaultPeer)
}

// a request is answered once and an answer is validated once, whatever
// came of it.
func TestAnswerOnce(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	id := ecdsaIdentity(t)
	ctx := context.Background()

	r, received := ask(t, p.client, p.server, RequestOptions{})
	b, err := p.server.Authenticate(ctx, received, id)
	require.NoError(t, err)
	_, err = p.server.Authenticate(ctx, received, id)
	requireError(t, err, ErrContextReuse, OpAuthenticate, FaultLocal)
	_, err = p.server.Refuse(received)
	requireError(t, err, ErrContextReuse, OpAuthenticate, FaultLocal)
	_, err = p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
	_, err = p.client.Validate(r, b, anyChain)
	requireError(t, err, ErrContextReuse, OpValidate, FaultLocal)

	_, received = ask(t, p.client, p.server, RequestOptions{})
	_, err = p.server.Refuse(received)
	require.NoError(t, err)
	_, err = p.server.Authenticate(ctx, received, id)
	requireError(t, err, ErrContextReuse, OpAuthenticate, FaultLocal)

	r, b = exchange(t, p.client, p.server, RequestOptions{}, id)
	_, err = p.client.Validate(r, b[1:], anyChain)
	require.Error(t, err)
	_, err = p.client.Validate(r, b, anyChain)
	requireError(t, err, ErrContextReuse, OpValidate, FaultLocal)
}

// Requests belong to the Session that made or received them.
func TestRequestOfAnotherSession(t *testing.T) {
	t.Parallel()
	p, other := exporterPair(t), exporterPair(t)
	id := ecdsaIdentity(t)
	ctx := context.Background()
	r, received := ask(t, p.client, p.server, RequestOptions{})
	for _, wrong := range []*ReceivedRequest{nil, {}} {
		_, err := p.server.Authenticate(ctx, wrong, id)
		requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
		_, err = p.server.Refuse(wrong)
		requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
	}
	_, err := other.server.Authenticate(ctx, received, id)
	requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
	_, err = p.server.Authenticate(ctx, received, nil)
	requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
	_, err = other.server.Refuse(received)
	requireError(t, err, ErrMisuse, OpAuthenticate, FaultLocal)
	b, err := p.server.Authenticate(ctx, received, id) // misuse spends nothing
	require.NoError(t, err)

	_, err = p.client.Validate(nil, b, anyChain)
	requireError(t, err, ErrMisuse, OpValidate, FaultLocal)
	_, err = other.client.Validate(r, b, anyChain)
	requireError(t, err, ErrMisuse, OpValidate, FaultLocal)
	_, err = p.client.Validate(r, b, ValidateOptions{}) // nothing nil switches a check off
	requireError(t, err, ErrMisuse, OpValidate, FaultLocal)
	_, err = p.client.Validate(r, b, anyChain)
	require.NoError(t, err)
}

// I-17: memory for contexts ends, in each of the four ways to use one.
func TestMaxContexts(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	b := spontaneous(t, p.server)
	for i := range MaxContexts - 2 {
		certContext := binary.BigEndian.AppendUint64(nil, uint64(i))
		ask(t, p.client, p.server, RequestOptions{Context: certContext})
	}
	last, _ := ask(t, p.client, p.server, RequestOptions{}) // server: full, with the unasked one
	_, err := p.client.NewRequest(RequestOptions{})         // client: full
	require.NoError(t, err)

	_, err = p.client.NewRequest(RequestOptions{})
	requireError(t, err, ErrLimit, OpRequest, FaultLocal)
	_, err = p.client.ValidateSpontaneous(hello(), b, anyChain)
	requireError(t, err, ErrLimit, OpValidate, FaultPeer)
	_, err = p.server.ReceiveRequest(request(17, schemesExtension))
	requireError(t, err, ErrLimit, OpAuthenticate, FaultPeer)
	_, err = p.server.AuthenticateSpontaneous(context.Background(), hello(), ecdsaIdentity(t))
	requireError(t, err, ErrLimit, OpAuthenticate, FaultLocal)
	_, err = p.client.Validate(last, []byte{20, 0, 0, 0}, anyChain) // what is under way goes on
	requireError(t, err, ErrFinished, OpValidate, FaultPeer)
}

// A Session is used from many goroutines: of equal contexts and of calls with one
// request, one wins.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	id := ecdsaIdentity(t)
	r, received := ask(t, p.client, p.server, RequestOptions{})
	same := RequestOptions{Context: []byte("everybody wants this context")}
	const callers = 8
	var made, answered sync.Map
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if _, err := p.client.NewRequest(same); err == nil {
				made.Store(i, true)
			}
			if b, err := p.server.Authenticate(context.Background(), received, id); err == nil {
				answered.Store(i, b)
			}
		})
	}
	wg.Wait()
	count := func(m *sync.Map) (n int, last any) {
		m.Range(func(_, v any) bool { n, last = n+1, v; return true })
		return n, last
	}
	n, _ := count(&made)
	require.Equal(t, 1, n)
	n, b := count(&answered)
	require.Equal(t, 1, n)
	_, err := p.client.Validate(r, b.([]byte), anyChain)
	require.NoError(t, err)
}

// the context of every message that has one.
func TestContextOfMessages(t *testing.T) {
	t.Parallel()
	p := exporterPair(t)
	r, b := exchange(t, p.client, p.server, RequestOptions{}, ecdsaIdentity(t))
	fromServer, received := ask(t, p.server, p.client, RequestOptions{Context: []byte{}})
	refusal, err := p.client.Refuse(received)
	require.NoError(t, err)
	for _, tc := range []struct {
		name string
		msg  []byte
		want []byte
		err  error
	}{
		{"ClientCertificateRequest", r.Bytes(), r.Context(), nil},
		{"CertificateRequest, empty context", fromServer.Bytes(), []byte{}, nil},
		{"authenticator", b, r.Context(), nil},
		{"empty authenticator", refusal, nil, ErrNoContext},
		{"nothing", nil, nil, ErrDecode},
		{"request cut", r.Bytes()[:20], nil, ErrDecode},
		{"authenticator cut", b[:len(b)-1], nil, ErrDecode},
		{"another message", []byte{1, 0, 0, 0}, nil, ErrUnexpectedMessage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := Context(tc.msg)
			if tc.err != nil {
				requireError(t, err, tc.err, OpContext, FaultPeer)
				require.Nil(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}
