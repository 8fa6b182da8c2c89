package expat

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/tlspair"
)

func TestConfigClone(t *testing.T) {
	t.Parallel()
	require.Nil(t, (*Config)(nil).Clone())
	require.Nil(t, new(Config).Clone().TLS)
	_, c := newWorld(t).configs(mutual)
	c.MaxExchanges, c.Refused = 3, func(net.Addr, error) {}
	_, err := c.prepare()
	require.NoError(t, err)
	clone := c.Clone()
	require.Nil(t, clone.prepared, "it is as good as new")
	require.NotSame(t, c.TLS, clone.TLS)
	from, to := reflect.ValueOf(c).Elem(), reflect.ValueOf(clone).Elem()
	for i := range from.NumField() {
		f := from.Type().Field(i)
		switch {
		case !f.IsExported() || f.Name == "TLS":
		case f.Type.Kind() == reflect.Func:
			require.Equal(t, from.Field(i).IsNil(), to.Field(i).IsNil(), f.Name)
		default:
			require.Equal(t, from.Field(i).Interface(), to.Field(i).Interface(), f.Name)
		}
	}
	clone.TLS.NextProtos = []string{"h2"}
	require.Empty(t, c.TLS.NextProtos)
	_, err = clone.prepare()
	require.NoError(t, err)
}

// The server must prove the name that ClientTo is given, whatever nc leads to.
func TestClientTo(t *testing.T) {
	t.Parallel()
	for host, good := range map[string]bool{serverName: true, "other.test": false} {
		cc, sc := newWorld(t).configs(serverAttests)
		cc.TLS.ServerName = ""
		cn, sn := tlspair.Pipe(t)
		c, s, err1, err2 := handshakes(t, ClientTo(cn, host, cc), Server(sn, sc))
		if good {
			require.NoError(t, errors.Join(err1, err2))
			echo(t, c, s, "hello")
			continue
		}
		var e *Error
		require.ErrorAs(t, err1, &e)
		require.Equal(t, StageTLS, e.Stage)
		require.Error(t, err2)
	}
}

func TestBare(t *testing.T) {
	t.Parallel()
	cc, sc := newWorld(t).configs(mutual)
	cc.TLS.NextProtos, sc.TLS.NextProtos = []string{"h2"}, []string{"h2"}
	cn, sn := tlspair.Pipe(t)
	early := Server(sn, sc)
	_, ok := early.Bare()
	require.False(t, ok, "no byte passes before the exchange is done")
	_, ok = FromTLS(early.tls.(*tls.Conn))
	require.False(t, ok)

	c, s, err1, err2 := handshakes(t, Client(cn, cc), early)
	require.NoError(t, errors.Join(err1, err2))
	tc, ok := s.Bare()
	require.True(t, ok)
	require.Equal(t, "expat/1+h2", tc.ConnectionState().NegotiatedProtocol)
	require.Equal(t, "h2", s.ConnectionState().NegotiatedProtocol)
	found, ok := FromTLS(tc)
	require.True(t, ok)
	require.Same(t, s, found)
	_, err := tc.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, tc.Close())
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

func TestFromTLSStrangers(t *testing.T) {
	t.Parallel()
	_, ok := FromTLS(nil)
	require.False(t, ok)
	cc, sc := newWorld(t).configs(serverAttests)
	c, s := tlspair.Connect(t, cc.TLS, sc.TLS)
	for _, tc := range []*tls.Conn{c, s} {
		_, ok = FromTLS(tc)
		require.False(t, ok)
	}
}

// E-10: a verdict that runs out ends the bare connection, reads under way too.
func TestBareExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(mutual)
		sc.Verifier = &toy{lifetime: time.Minute}
		cn, sn := delayPipe(0)
		c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		tc, ok := s.Bare()
		require.True(t, ok)
		start := time.Now()
		_, err := tc.Read(make([]byte, 1))
		require.Error(t, err)
		require.Equal(t, time.Minute, time.Since(start))
		synctest.Wait() // the client has the same timer
		_, err = tc.Write([]byte("x"))
		require.Error(t, err)
		_, ok = s.Bare()
		require.False(t, ok)
		_, ok = FromTLS(tc)
		require.True(t, ok, "what it was remains known")
		_ = c.Close() // it has ended by its own timer
	})
}

// Closing the bare connection stops the timer of its verdict.
func TestBareCloseStopsTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cc, sc := newWorld(t).configs(mutual)
		sc.Verifier = &toy{lifetime: time.Minute}
		cn, sn := delayPipe(0)
		c, s, err1, err2 := handshakes(t, Client(cn, cc), Server(sn, sc))
		require.NoError(t, errors.Join(err1, err2))
		for _, conn := range []*Conn{s, c} {
			tc, _ := conn.Bare()
			require.NoError(t, tc.Close())
			require.False(t, conn.opened.Load().expiry.Stop(), "stopped already")
		}
	})
}
