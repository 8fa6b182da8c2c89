/* expat/1 as a Promela model. docs/protocol.md is the prose; state.go the code.
 *
 * An Endpoint follows the rules. Its counterpart is either another Endpoint or
 * a Rogue that sends any frame at any time, and ends when it likes. Compile with
 * one of
 *
 *   -DROGUE    an Endpoint against a Rogue: safety
 *   -DHONEST   two Endpoints: they open and end, nothing blocks
 *
 * and any of
 *
 *   -DASKS=0|1 -DPEER_ASKS=0|1   who demands attestation
 *   -DCLIENT_FIRST               the server holds its authenticator back
 *   -DMUX                        frames go on after opening, with re-attestation;
 *                                each step of it takes its time
 *   -DDEADLINE                   the deadline, or a cancellation, strikes any time
 *   -DBROKEN_OPEN, -DBROKEN_LEASE   a mistake, which the check must find
 *
 * What is checked: an assertion stands where application data is delivered and
 * where it is sent; spin finds every reachable violation, every state from which
 * nothing can move, and (honest, without deadline) that both sides open.
 */

#ifndef ASKS
#define ASKS 1
#endif
#ifndef PEER_ASKS
#define PEER_ASKS 1
#endif

/* The frames. HELLO says whether a REQUEST will come; an authenticator is good or
 * not as the checks of package authenticator and the Verifier find it. */
mtype = { hello_ask, hello_only, request, auth_good, auth_bad, result_ok, result_no, alert, data, junk, eof };

/* The states of state.go, by the same names and numbers. */
#define askNone       0
#define askPending    1
#define askJudging    2
#define askDone       3
#define answerUnknown 0
#define answerNone    1
#define answerPending 2
#define answerOwed    3
#define answerSent    4
#define answerDone    5

/* The state table. TestModelIsTheCode evaluates these lines as Go expressions and
 * compares them with state.admit and state.open for every state. */
#define ADMIT_HELLO         (answer == answerUnknown)
#define ADMIT_REQUEST       (answer == answerPending || live && answer == answerDone)
#define ADMIT_AUTHENTICATOR (ask == askPending && answer != answerUnknown)
#define ADMIT_RESULT        (answer == answerSent)
#define ADMIT_DATA          (live)
#ifndef BROKEN_OPEN
#define OPEN                (live || ask != askPending && ask != askJudging && (answer == answerNone || answer == answerDone))
#else
#define OPEN                (answer != answerUnknown && ask != askPending)
#endif

/* Application data is written while fewer frames than this are queued. */
#define ROOM 1

byte opened = 0;   /* endpoints that opened */
byte ended = 0;    /* endpoints that ended */

/* An endpoint queues frames; a writer of its own moves them to the wire, which
 * holds one frame. See docs/decisions/0004. */
proctype Writer(chan queue; chan wire)
{
	mtype f;
end:	do
	:: queue?f -> wire!f;
		if
		:: f == eof -> break
		:: else -> f = 0         /* what is behind us makes no new state, here and below */
		fi
	od
}

#define SEND(f) assert(nfull(queue)); queue!f

/* Between two honest sides without a deadline nothing fails before it is open. */
#if defined(HONEST) && !defined(DEADLINE)
#define MUST_OPEN assert(false)
#else
#define MUST_OPEN skip
#endif

/* The ghosts: what is true whatever the state variables say. */
#define MAY_FLOW ((!asks || accepted) && (!asked || confirmed) && !expired)

proctype Endpoint(bool asks; bool holdsBack; chan in; chan queue)
{
	mtype f;
	byte ask, answer;
	bool live, asked, accepted, confirmed, expired, isOpen, gotEOF;
#ifdef MUX
	bool good;               /* the authenticator that is judged */
#endif

	if
	:: asks  -> ask = askPending; SEND(hello_ask); SEND(request)
	:: !asks -> ask = askNone;    SEND(hello_only)
	fi;

	/* The exchange. */
	do
	:: OPEN -> break
	:: !OPEN && nempty(in) -> in?f;
		if
		:: f == alert -> MUST_OPEN; goto closed
		:: f == eof -> MUST_OPEN; gotEOF = true; goto closed
		:: (f == hello_ask || f == hello_only) && ADMIT_HELLO ->
			if
			:: f == hello_ask  -> asked = true; answer = answerPending
			:: f == hello_only -> answer = answerNone
			fi;
			if
			:: !asks && !asked -> MUST_OPEN; goto fail
			:: else
			fi
		:: f == request && ADMIT_REQUEST ->
			answer = answerOwed;
			if
			:: holdsBack && ask == askPending
			:: else -> SEND(auth_good); answer = answerSent
			fi
		:: f == auth_good && ADMIT_AUTHENTICATOR ->
			accepted = true; SEND(result_ok); ask = askDone;
			if
			:: answer == answerOwed -> SEND(auth_good); answer = answerSent
			:: else
			fi
		:: f == auth_bad && ADMIT_AUTHENTICATOR -> MUST_OPEN; SEND(result_no); goto closed
		:: f == result_ok && ADMIT_RESULT -> confirmed = true; answer = answerDone
		:: f == result_no && ADMIT_RESULT -> MUST_OPEN; goto closed
		:: else -> MUST_OPEN; goto fail
		fi
#ifdef DEADLINE
	:: !OPEN -> goto fail
#endif
	od;

	isOpen = true; opened++; f = 0;
	assert(MAY_FLOW);
#ifdef MUX
	live = true;
#endif

	/* The stream. Without mux all that arrives is the application's. */
	do
#ifdef BROKEN_LEASE
	:: expired = true
#endif
	:: atomic { nempty(in) && len(queue) < ROOM + 3 -> in?f;
		if
		:: f == eof -> gotEOF = true; break
#ifdef MUX
		:: f == alert -> break
		:: f == data && ADMIT_DATA -> assert(isOpen && MAY_FLOW)
		:: f == request && ADMIT_REQUEST -> answer = answerOwed
		:: (f == auth_good || f == auth_bad) && ADMIT_AUTHENTICATOR -> ask = askJudging; good = (f == auth_good)
		:: f == result_ok && ADMIT_RESULT -> answer = answerDone
		:: f == result_no && ADMIT_RESULT -> break
		:: else -> goto fail
#else
		:: else -> assert(isOpen && MAY_FLOW)
#endif
		fi;
		f = 0 }
	:: nfull(queue) && len(queue) < ROOM -> assert(isOpen && MAY_FLOW); queue!data
#ifdef MUX
	:: atomic { ask == askDone && len(queue) < ROOM -> ask = askPending; SEND(request) }
	:: answer == answerOwed ->
		if
		:: atomic { SEND(auth_good); answer = answerSent }
		:: goto fail                                 /* the platform fails */
		fi
	:: atomic { ask == askJudging && good -> good = false; SEND(result_ok); ask = askDone }
	:: ask == askJudging && !good -> SEND(result_no); goto closed
#endif
	:: expired = true; isOpen = false; goto fail     /* a verdict has run out */
	:: break                                         /* the application closes */
	od;
	goto closed;

fail:	SEND(alert);
closed:	isOpen = false; f = 0;
	SEND(eof);
	ended++;
	/* A closed socket swallows what is under way. */
enddrain: do
	:: gotEOF -> break
	:: !gotEOF && nempty(in) -> in?f; gotEOF = (f == eof)
	od
}

/* Rogue sends what it likes, as often as it likes, and reads what it likes. */
proctype Rogue(chan in; chan wire)
{
	mtype f;
end:	do
	:: wire!hello_ask
	:: wire!hello_only
	:: wire!request
	:: wire!auth_good
	:: wire!auth_bad
	:: wire!result_ok
	:: wire!result_no
	:: wire!alert
	:: wire!data
	:: wire!junk
	:: in?f
	:: wire!eof; break
	:: break                   /* falls silent */
	od;
enddrain: do
	:: in?f
	od
}

chan queueA = [8] of { mtype };  /* HELLO, REQUEST, AUTHENTICATOR, RESULT, a last word, and data */
chan queueB = [8] of { mtype };
chan wireA = [1] of { mtype };   /* A to B */
chan wireB = [1] of { mtype };   /* B to A */

init {
	atomic {
		run Writer(queueA, wireA);
#ifdef ROGUE
		run Endpoint(ASKS, false, wireB, queueA);
		run Rogue(wireA, wireB)
#else
		run Writer(queueB, wireB);
		run Endpoint(ASKS, false, wireB, queueA);
#ifdef CLIENT_FIRST
		run Endpoint(PEER_ASKS, true, wireA, queueB)
#else
		run Endpoint(PEER_ASKS, false, wireA, queueB)
#endif
#endif
	}
}
