package expat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/internal/wire"
)

// row is what docs/protocol.md, Section 3, says of one state, by the names of
// the frames that the peer may send.
type row struct {
	ask    ask
	answer answer
	live   bool
	may    string // H HELLO, Q REQUEST, A AUTHENTICATOR, R RESULT, D DATA; ALERT always
	open   bool   // application data may flow
	deaf   bool   // an ALERT could reach the peer's application
	stage  Stage
}

// rows lists every state, whether or not an exchange can get there.
var rows = []row{
	{askNone, answerUnknown, false, "H", false, false, StageHello},
	{askNone, answerNone, false, "", true, true, StageResult},
	{askNone, answerPending, false, "Q", false, false, StageRequest},
	{askNone, answerOwed, false, "", false, false, StageResult},
	{askNone, answerSent, false, "R", false, true, StageResult},
	{askNone, answerDone, false, "", true, true, StageResult},

	{askPending, answerUnknown, false, "H", false, false, StageHello},
	{askPending, answerNone, false, "A", false, false, StageValidate},
	{askPending, answerPending, false, "QA", false, false, StageValidate},
	{askPending, answerOwed, false, "A", false, false, StageValidate},
	{askPending, answerSent, false, "AR", false, false, StageValidate},
	{askPending, answerDone, false, "A", false, false, StageValidate},

	{askJudging, answerUnknown, false, "H", false, false, StageHello},
	{askJudging, answerNone, false, "", false, false, StageValidate},
	{askJudging, answerPending, false, "Q", false, false, StageValidate},
	{askJudging, answerOwed, false, "", false, false, StageValidate},
	{askJudging, answerSent, false, "R", false, false, StageValidate},
	{askJudging, answerDone, false, "", false, false, StageValidate},

	{askDone, answerUnknown, false, "H", false, false, StageHello},
	{askDone, answerNone, false, "", true, true, StageResult},
	{askDone, answerPending, false, "Q", false, false, StageRequest},
	{askDone, answerOwed, false, "", false, false, StageResult},
	{askDone, answerSent, false, "R", false, true, StageResult},
	{askDone, answerDone, false, "", true, true, StageResult},

	{askNone, answerUnknown, true, "HD", true, false, StageHello},
	{askNone, answerNone, true, "D", true, false, StageStream},
	{askNone, answerPending, true, "QD", true, false, StageRequest},
	{askNone, answerOwed, true, "D", true, false, StageStream},
	{askNone, answerSent, true, "RD", true, false, StageResult},
	{askNone, answerDone, true, "QD", true, false, StageStream},

	{askPending, answerUnknown, true, "HD", true, false, StageHello},
	{askPending, answerNone, true, "AD", true, false, StageValidate},
	{askPending, answerPending, true, "QAD", true, false, StageValidate},
	{askPending, answerOwed, true, "AD", true, false, StageValidate},
	{askPending, answerSent, true, "ARD", true, false, StageValidate},
	{askPending, answerDone, true, "QAD", true, false, StageValidate},

	{askJudging, answerUnknown, true, "HD", true, false, StageHello},
	{askJudging, answerNone, true, "D", true, false, StageValidate},
	{askJudging, answerPending, true, "QD", true, false, StageValidate},
	{askJudging, answerOwed, true, "D", true, false, StageValidate},
	{askJudging, answerSent, true, "RD", true, false, StageValidate},
	{askJudging, answerDone, true, "QD", true, false, StageValidate},

	{askDone, answerUnknown, true, "HD", true, false, StageHello},
	{askDone, answerNone, true, "D", true, false, StageStream},
	{askDone, answerPending, true, "QD", true, false, StageRequest},
	{askDone, answerOwed, true, "D", true, false, StageStream},
	{askDone, answerSent, true, "RD", true, false, StageResult},
	{askDone, answerDone, true, "QD", true, false, StageStream},
}

var letters = map[rune]wire.Type{'H': wire.Hello, 'Q': wire.Request, 'A': wire.Authenticator, 'R': wire.Result, 'D': wire.Data}

// E-6, E-7, I-15: each state admits the frames of the table and no other of the 256.
func TestStateTable(t *testing.T) {
	t.Parallel()
	seen := map[state]bool{}
	for _, r := range rows {
		s := state{ask: r.ask, answer: r.answer, live: r.live}
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
	require.Len(t, seen, 2*int(askDone+1)*int(answerDone+1), "every state is listed")
}

func TestStateAwaited(t *testing.T) {
	t.Parallel()
	for _, r := range rows {
		var names []string
		for _, l := range r.may {
			names = append(names, letters[l].String())
		}
		want := strings.Join(names, " or ")
		if want == "" {
			want = "nothing"
		}
		require.Equal(t, want, state{ask: r.ask, answer: r.answer, live: r.live}.awaited(), "%+v", r)
	}
}

func TestStateBegin(t *testing.T) {
	t.Parallel()
	require.Equal(t, state{ask: askPending}, begin(true))
	require.Equal(t, state{}, begin(false))
}
