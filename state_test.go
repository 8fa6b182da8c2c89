package expat

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/wire"
)

// row is what docs/protocol.md, Section 3, says of one state, by the names of
// the frames that the peer may send.
type row struct {
	ask    ask
	answer answer
	may    string // H HELLO, Q REQUEST, A AUTHENTICATOR, R RESULT; ALERT always
	open   bool   // application data may flow
	deaf   bool   // an ALERT could reach the peer's application
	stage  Stage
}

// rows lists every state, whether or not an exchange can get there.
var rows = []row{
	{askNone, answerUnknown, "H", false, false, StageHello},
	{askNone, answerNone, "", true, true, StageResult},
	{askNone, answerPending, "Q", false, false, StageRequest},
	{askNone, answerOwed, "", false, false, StageResult},
	{askNone, answerSent, "R", false, true, StageResult},
	{askNone, answerDone, "", true, true, StageResult},

	{askPending, answerUnknown, "H", false, false, StageHello},
	{askPending, answerNone, "A", false, false, StageValidate},
	{askPending, answerPending, "QA", false, false, StageValidate},
	{askPending, answerOwed, "A", false, false, StageValidate},
	{askPending, answerSent, "AR", false, false, StageValidate},
	{askPending, answerDone, "A", false, false, StageValidate},

	{askDone, answerUnknown, "H", false, false, StageHello},
	{askDone, answerNone, "", true, true, StageResult},
	{askDone, answerPending, "Q", false, false, StageRequest},
	{askDone, answerOwed, "", false, false, StageResult},
	{askDone, answerSent, "R", false, true, StageResult},
	{askDone, answerDone, "", true, true, StageResult},
}

// E-6, E-7, I-15: each state admits the frames of the table and no other of the 256.
func TestStateTable(t *testing.T) {
	t.Parallel()
	letters := map[rune]wire.Type{'H': wire.Hello, 'Q': wire.Request, 'A': wire.Authenticator, 'R': wire.Result}
	seen := map[state]bool{}
	for _, r := range rows {
		s := state{r.ask, r.answer}
		require.False(t, seen[s])
		seen[s] = true
		may := map[wire.Type]bool{wire.Alert: true}
		for _, l := range r.may {
			may[letters[l]] = true
		}
		for i := range 256 {
			typ := wire.Type(i)
			err := s.admit(typ)
			if may[typ] {
				require.NoError(t, err, "%+v %v", s, typ)
				continue
			}
			require.ErrorIs(t, err, ErrProtocol, "%+v %v", s, typ)
			require.EqualError(t, err, fmt.Sprintf("protocol error: %v while we wait for %s", typ, s.awaited()))
		}
		require.Equal(t, r.open, s.open(), "%+v", s)
		require.Equal(t, r.deaf, s.peerMayBeOpen(), "%+v", s)
		require.Equal(t, r.stage, s.stage(), "%+v", s)
	}
	require.Len(t, seen, int(askDone+1)*int(answerDone+1), "every state is listed")
}

func TestStateAwaited(t *testing.T) {
	t.Parallel()
	want := map[string]string{"": "nothing", "H": "HELLO", "Q": "REQUEST", "A": "AUTHENTICATOR", "R": "RESULT", "QA": "REQUEST or AUTHENTICATOR", "AR": "AUTHENTICATOR or RESULT"}
	for _, r := range rows {
		require.Equal(t, want[r.may], state{r.ask, r.answer}.awaited(), "%+v", r)
	}
}

func TestStateBegin(t *testing.T) {
	t.Parallel()
	require.Equal(t, state{askPending, answerUnknown}, begin(true))
	require.Equal(t, state{askNone, answerUnknown}, begin(false))
}
