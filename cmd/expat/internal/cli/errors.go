package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat"
	"github.com/expat-go/expat/attacktest"
	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/authenticator"
	"github.com/expat-go/expat/cmd/expat/internal/attack"
	"github.com/expat-go/expat/cmd/expat/internal/demo"
	"github.com/expat-go/expat/cmd/expat/internal/inspect"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/evidence/tpm"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/passport"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/remote"
)

// Exit codes.
const (
	exitOK      = 0
	exitRefused = 1 // by appraisal, ours or the peer's
	exitUsage   = 2 // command line, state directory
	exitNetwork = 3 // network, protocol, or a device that is not there
)

// errUsage: the command line cannot be meant.
var errUsage = errors.New("usage")

func usage(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: %w; see %q", errUsage, err, cmd.CommandPath()+" --help")
}

// explain makes the one line that tells an error, and the exit code: what failed,
// at which step, and what to do.
func explain(err error) (string, int) {
	var e *expat.Error
	var text string
	code := exitNetwork
	switch {
	case errors.Is(err, errUsage), errors.Is(err, state.ErrState), errors.Is(err, policy.ErrFile), errors.Is(err, platform.ErrElsewhere):
		text, code = err.Error(), exitUsage
	case errors.Is(err, platform.ErrNotTrusted):
		text, code = err.Error(), exitRefused
	case errors.Is(err, inspect.ErrUnknown), errors.Is(err, inspect.ErrSize):
		text = err.Error()
	case errors.Is(err, platform.ErrDevice), errors.Is(err, platform.ErrEnroll):
		text = err.Error()
	case errors.Is(err, demo.ErrNotAsExpected), errors.Is(err, errVectors), errors.Is(err, attack.ErrAccepted), errors.Is(err, attack.ErrGone), errors.Is(err, errPolicyRefuses):
		text, code = err.Error(), exitRefused
	case errors.As(err, &e):
		verb := "failed"
		if refusal(e) {
			verb, code = "refused", exitRefused
		}
		text = fmt.Sprintf("%s at step %q: %s; %s", verb, e.Stage, reason(e.Err), cmp.Or(advice(e), sameVersion))
	default:
		if isAs[*fs.PathError](err) {
			code = exitUsage
		}
		text = reason(err)
		if what := advice(err); what != "" {
			text += "; " + what
		}
	}
	return "expat: " + show.Line(strings.Join(strings.Fields(text), " "), 0), code
}

// maxReason is how much of a reason is told, in characters: a peer has a say in it.
const maxReason = 2000

// reason is an error in one line.
func reason(err error) string {
	return show.Line(strings.Join(strings.Fields(err.Error()), " "), maxReason)
}

// sameVersion is for a peer that cannot be understood.
const sameVersion = "if it happens again, run both sides with the same version of expat"

// refusal tells a proof that was not good, ours or the peer's, from trouble on the
// way to it, such as a certificate that is not good in the TLS handshake.
func refusal(e *expat.Error) bool {
	if e.Stage == expat.StageTLS || e.Stage == expat.StageNegotiate {
		return false
	}
	if errors.Is(e.Err, passport.ErrSource) && errors.Is(e.Err, attestation.ErrRejected) {
		return true // our own Evidence, by the verifier that was to vouch for it
	}
	switch e.Alert {
	case expat.AlertWrongConnection, expat.AlertCertificate, expat.AlertAttestationRequired,
		expat.AlertAttestationRejected, expat.AlertRefused:
		return true
	case expat.AlertMalformed:
		return e.Side == expat.Local && e.Stage == expat.StageAppraise
	}
	return false
}

// advice says what to do about an error, or nothing; the first row that fits counts.
func advice(err error) string {
	for _, row := range advices {
		if row.fits(err) {
			return row.do
		}
	}
	return ""
}

// outlived is for a connection that lasts longer than a verdict on it.
const outlived = "connect again, or have verdicts renewed in time: --reattest on both sides"

// isOutlived is for a peer that says of an open connection that proof is required.
func isOutlived(err error) bool {
	var e *expat.Error
	return errors.As(err, &e) && e.Side == expat.Peer && e.Alert == expat.AlertAttestationRequired &&
		(e.Stage == expat.StageStream || errors.Is(e, expat.ErrReattest))
}

var advices = []struct {
	fits func(error) bool
	do   string
}{
	{isCheck(verifier.CheckSignature), "its Evidence was changed on the way; trust nothing it says"},
	{isCheck(verifier.CheckChain), "its Evidence is signed by nobody whom the policy names, or its certificates have ended or are revoked; is --state the server's directory?"},
	{isCheck(verifier.CheckBinder), "its Evidence was made for another connection; someone may stand between you"},
	{isCheck(verifier.CheckReportData), "its Evidence was made for another connection, or vouches for another key; someone may stand between you"},
	{isCheck(verifier.CheckKeyHash), "its TEE vouches for another key; someone may stand between you"},
	{isCheck(verifier.CheckCertifiedKey), "its TPM vouches for another key; someone may stand between you"},
	{isCheck(verifier.CheckKeyProvenance), "its key lies outside the TEE or TPM and can be anywhere; have it generated inside"},
	{isCheck(verifier.CheckDebug), "its memory can be read from outside; have its operator turn debug off"},
	{isCheck(verifier.CheckMeasurement), "it runs software that the reference values do not know; update it or them"},
	{isCheck(verifier.CheckSoftware), "it runs software that the reference values do not know; update it or them"},
	{isCheck(verifier.CheckInstance), "it is not the machine that the reference values name"},
	{isCheck(verifier.CheckRevocation), "the policy calls this machine revoked; take it out of service"},
	{isCheck(verifier.CheckExpiry), "the certificates of its Evidence end; have it enrolled or certified again"},
	{isCheck(verifier.CheckPlatform), "its firmware or configuration is below what the policy demands; update it, or the policy"},
	{is(verifier.ErrNotCollection), "it showed one platform and several are expected; start it with the same --attester a+b as --expect here"},
	{is(verifier.ErrComposite), "it showed several platforms and one is expected; name them with --expect a+b"},
	{is(verifier.ErrLeafMissing), "it showed fewer platforms than are expected; start it with the same --attester a+b as --expect here"},
	{is(verifier.ErrLeafUnknown), "it showed a platform that is not expected; name it in --expect a+b"},
	{is(verifier.ErrLeafDoubled), "it showed one thing in two places; trust nothing it says"},
	{is(verifier.ErrLeafBinding), "part of its Evidence was made for another connection or key; someone may stand between you"},
	{isOwn(ear.ErrTier), "the verifier does not accept what we are; its log says why"},
	{is(ear.ErrTier), "the verifier does not accept what it is; the verifier's log says why"},
	{isAny(ear.ErrSignature, ear.ErrUnknownKey, ear.ErrKeySet), "are --verifier-keys those of the verifier that said so?"},
	{is(ear.ErrIssuer), "is --verifier-issuer the name of the verifier that said so?"},
	{is(ear.ErrExpired), "have it obtain a new passport; do the clocks agree?"},
	{is(ear.ErrNonce), "its passport was issued for another connection: someone may stand between you, or it shows a cached one"},
	{is(ear.ErrKey), "its passport is for another key; someone may stand between you"},
	{isAny(remote.ErrUnreachable, remote.ErrOpen), "is the verifier running at that URL?"},
	{isAny(remote.ErrRefused, remote.ErrProtocol), "is it expat verifier serve at that URL?"},
	{is(expat.ErrExpired), outlived},
	{isOutlived, outlived},
	{is(expat.ErrNoReattest), "start the peer with --reattest"},
	{is(attestation.ErrRejected), "it is not what the reference values name; change it or the reference values"},
	{is(tpm.ErrGone), "does the TPM still run at the address of --tpm?"},
	{is(tpm.ErrLockout), "the TPM refuses its keys after too many failures; wait, or reset it with the lockout authorization"},
	{is(tpm.ErrAuth), "the key has an authorization value that is not the one given; enrol the TPM again"},
	{is(tpm.ErrKeyNotHere), "the certificate is for a key that is not in this TPM; enrol the TPM again"},
	{is(tpm.ErrPCRsChange), "something extends the quoted PCRs all the time; enrol with other --pcrs"},
	{is(attestation.ErrMediaType), "the two sides know no platform in common: give --expect or --policy for what the other side attests with"},
	{is(expat.ErrNotAttested), "start the peer with --attester"},
	{is(authenticator.ErrRefused), "the peer has nothing to show of what is asked for; start it with --attester, name what it shows with --expect, or start it with --passport where that is demanded"},
	{is(attestation.ErrMissing), "start the peer with --attester"},
	{isPeer(expat.AlertAttestationRequired), "the peer demands proof, or renewals: give --attester, with the platform that it expects, or --reattest"},
	{isPeer(expat.AlertAttestationRejected), "the peer does not accept what we are; its log says why"},
	{is(expat.ErrPeerAlert), "the peer's log says why"},
	{is(expat.ErrNegotiation), "is it an expat server, and this its address?"},
	{isAs[x509.UnknownAuthorityError], "is --state the directory of this server?"},
	{isAs[x509.HostnameError], "connect by a name that is in the server's certificate, or add it there with --name"},
	{isAs[*tls.CertificateVerificationError], "the server's certificate is not good for this address and --state"},
	{is(syscall.ECONNREFUSED), "is expat serve running there?"},
	{is(syscall.ECONNRESET), "the peer's log says why"},
	{is(syscall.EADDRINUSE), "choose another address with --listen, or port 0 for any"},
	{is(context.DeadlineExceeded), "the peer is slow or silent; is it an expat server?"},
	{is(os.ErrDeadlineExceeded), "the peer is slow or silent; is it an expat server?"},
	{is(context.Canceled), "the command was interrupted"},
	{is(expat.ErrClosed), "the peer's log says why"},
	{is(expat.ErrConfig), "check the flags"},
	{is(attacktest.ErrHonest), "is --state the directory of this server, and does it judge simulated TEEs?"},
	{isAs[*fs.PathError], "check the name of the file, and who may read and write there"},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isAny(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
	}
}

// isOwn is for what is wrong with this side's own passport.
func isOwn(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, passport.ErrSource) && errors.Is(err, target) }
}

func isAs[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

func isCheck(c verifier.Check) func(error) bool { return is(&verifier.CheckError{Check: c}) }

func isPeer(a expat.Alert) func(error) bool {
	return func(err error) bool {
		var e *expat.Error
		return errors.As(err, &e) && e.Side == expat.Peer && e.Alert == a
	}
}
