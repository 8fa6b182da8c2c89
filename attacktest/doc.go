// Package attacktest attacks an expat/1 endpoint, and a client that relies on
// it, with every attack of the threat model that can be played over a network,
// and tells which were refused. It is for the tests of programs that use package
// expat, and for implementations of expat/1 in any language:
//
//	func TestAttacks(t *testing.T) {
//		attacktest.Test(t, attacktest.Target{Dial: dial, Client: client, …}, attacktest.Options{})
//	}
//
// The attacker is no fool: unless an attack says otherwise he has a certificate
// of the right CA and a genuine attesting environment that the victim accepts,
// so that each attack differs from an honest connection in one thing. [Run]
// therefore begins with honest connections, and fails if they are not accepted:
// a victim that refuses everybody proves nothing. It ends with them too, to see
// that the victim still serves.
//
// What the attacker has comes in a [Target]; platforms come in as
// [attestation.Attester], so that the package knows none of them. What the
// Target leaves out makes the attacks that need it not applicable, with a
// reason, and never accepted or refused. So does what a victim does not do: attacks
// on renewals need one that offers to be asked anew, and asks anew within
// [Options.Patience], because its verdicts end or of itself.
//
// It is no load generator: a run opens fewer than a hundred connections to the
// endpoint, one to three for each attack, [Options.Parallel] attacks at a time, and
// beside these one for each of the attacks that only wait. Attack what is yours.
package attacktest
