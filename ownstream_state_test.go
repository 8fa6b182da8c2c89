package expat

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/wire"
)

// A stream of its own changes two things in the table of states: there is no DATA,
// and no state in which the peer could take a frame for application data. Where
// nobody is asked anew a live connection takes no REQUEST either.
func TestStateOfOwnStream(t *testing.T) {
	t.Parallel()
	for _, r := range rows {
		shared := state{ask: r.ask, answer: r.answer, live: r.live}
		apart, once := shared, shared
		apart.apart = true
		once.once = true
		for i := range 256 {
			typ := wire.Type(i)
			require.Equal(t, shared.may(typ) && typ != wire.Data, apart.may(typ), "%+v %v", apart, typ)
			anew := typ == wire.Request && shared.live && shared.answer == answerDone
			require.Equal(t, shared.may(typ) && !anew, once.may(typ), "%+v %v", once, typ)
		}
		require.Equal(t, shared.open(), apart.open())
		require.Equal(t, shared.stage(), apart.stage())
		require.False(t, apart.peerMayBeOpen())
	}
}
