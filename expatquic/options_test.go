package expatquic

import (
	"crypto/sha256"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// What a Config says of certificates and of who shows its Evidence first holds on QUIC.
func TestOptions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world, client, server *expat.Config){
		"ClientFirst": func(_ *world, _, server *expat.Config) { server.ClientFirst = true },
		"pinned key": func(w *world, client, server *expat.Config) {
			client.AttestedKeyOnly, server.AttestedKeyOnly = true, true
			client.TLS.RootCAs, server.TLS.ClientCAs = nil, nil
			client.PinnedServerKeys = [][32]byte{sha256.Sum256(w.server.Leaf.RawSubjectPublicKeyInfo)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			client, server := w.configs(mutual)
			change(w, client, server)
			c, s := connect(t, client, server)
			echo(t, c, s)
		})
	}
	t.Run("another key", func(t *testing.T) {
		t.Parallel()
		client, server := newWorld(t).configs(mutual)
		client.AttestedKeyOnly, client.PinnedServerKeys = true, [][32]byte{{1}}
		at := listen(t, server, fast())
		at.accept()
		_, err := Dial(within(t), at.Addr().String(), client, fast())
		var e *expat.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, expat.StageTLS, e.Stage)
		require.ErrorContains(t, err, "PinnedServerKeys")
	})
	t.Run("IPv6", func(t *testing.T) {
		t.Parallel()
		if ln, err := net.ListenPacket("udp", "[::1]:0"); err != nil {
			t.Skip("no IPv6 here")
		} else {
			require.NoError(t, ln.Close())
		}
		client, server := newWorld(t).configs(mutual)
		ln, err := Listen("[::1]:0", server, nil)
		require.NoError(t, err)
		defer ln.Close()
		go func() { _, _ = ln.Accept() }()
		c, err := Dial(within(t), ln.Addr().String(), client, nil)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	})
}
