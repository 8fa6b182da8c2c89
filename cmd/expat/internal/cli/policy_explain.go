package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/show"
	"github.com/expat-go/expat/cmw"
	"github.com/expat-go/expat/verifier"
	"github.com/expat-go/expat/verifier/policy"
)

type explainFlags struct {
	mediaType string
	binding   string
	binder    string
	key       string
	at        string
	json      bool
}

func newPolicyExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain FILE EVIDENCE",
		Short: "Say check by check why a policy accepts Evidence or refuses it",
		Long: `explain judges EVIDENCE by the policy FILE and lists every check, with what is wanted
and what is there. EVIDENCE is a file with a CMW in CBOR or JSON, such as
"expat connect --save-evidence" writes, or with the bare Evidence of --media-type.

What the Evidence is bound to is compared with --binding, the file that was saved
beside it, or with --binder and --key. Without them it is NOT compared: anyone who
has seen the Evidence could show it. The exit code is 1 if it would be refused.`,
		Example: `  expat connect 127.0.0.1:4433 --state /tmp/expat --message hi --save-evidence server.cmw
  expat policy explain /tmp/expat/policy-server.yaml server.cmw --binding server.cmw.binding`,
		Args: cobra.ExactArgs(2),
	}
	cmd.RunE = run(func(cmd *cobra.Command, args []string) error {
		b, o, err := f.read()
		if err != nil {
			return usage(cmd, err)
		}
		m, err := readMessage(args[1], f.mediaType, cmd.InOrStdin())
		if err != nil {
			return usage(cmd, err)
		}
		p, err := policy.Load(cmd.Context(), args[0], o)
		if err != nil {
			return policyError(args[0], err)
		}
		x, err := p.Explain(cmd.Context(), m, b)
		if err != nil {
			return err
		}
		if f.json {
			err = writeJSON(cmd.OutOrStdout(), newExplained(p, x))
		} else {
			err = writeExplained(cmd.OutOrStdout(), p, x)
		}
		if err == nil && x.Err != nil {
			err = fmt.Errorf("%w %s: %s", errPolicyRefuses, args[1], strings.Join(reasons(x.Err), "; "))
		}
		return err
	})
	flags := cmd.Flags()
	flags.StringVar(&f.mediaType, "media-type", "", "EVIDENCE is bare, of this `TYPE`, not a CMW")
	flags.StringVar(&f.binding, "binding", "", "`FILE` with the binder and key of the connection, as saved beside the Evidence")
	flags.StringVar(&f.binder, "binder", "", "binder of the connection in `HEX`; needs --key")
	flags.StringVar(&f.key, "key", "", "`FILE` with the public key, or certificate, of the peer in PEM; needs --binder")
	flags.StringVar(&f.at, "at", "", "`TIME` at which certificates must be valid; default: now")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// read makes sense of the flags. The zero Binding is that of no connection.
func (f *explainFlags) read() (b attestation.Binding, o policy.Options, err error) {
	o = platform.PolicyOptions()
	if f.at != "" {
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return b, o, fmt.Errorf("--at %q is not a time such as 2026-01-02T15:04:05Z", f.at)
		}
		o.Now = func() time.Time { return at }
	}
	switch {
	case f.binding != "" && f.binder+f.key != "":
		return b, o, errors.New("--binding says what --binder and --key say: give one of the two")
	case (f.binder == "") != (f.key == ""):
		return b, o, errors.New("--binder and --key need each other")
	case f.binding+f.key == "":
		return b, o, nil
	}
	binder, err := hex.DecodeString(f.binder)
	if err != nil {
		return b, o, fmt.Errorf("--binder: %w", err)
	}
	text, err := os.ReadFile(f.binding + f.key)
	if err != nil {
		return b, o, err
	}
	var spki []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case platform.BinderType:
			if f.binding != "" {
				binder = block.Bytes
			}
		case platform.KeyType:
			spki = block.Bytes
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return b, o, err
			}
			if spki == nil { // the first is the peer's
				spki = c.RawSubjectPublicKeyInfo
			}
		}
	}
	b, err = attestation.AssertedBinding(binder, spki)
	return b, o, err
}

// maxEvidence is the largest file of Evidence that is read, in bytes.
const maxEvidence = 1 << 20

// readMessage reads a CMW, or bare Evidence of a media type.
func readMessage(name, mediaType string, stdin io.Reader) (*cmw.Message, error) {
	b, err := readInput(name, stdin, maxEvidence)
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxEvidence:
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxEvidence)
	case mediaType != "":
		m, err := cmw.NewRecord(mediaType, b, cmw.Evidence)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return m, nil
	}
	m, err := cmw.Decode(b)
	if err != nil && len(b) > 0 && (b[0] == '[' || b[0] == '{') { // a text file ends in a newline
		m, err = cmw.Decode(bytes.TrimSpace(b))
	}
	if err != nil {
		return nil, fmt.Errorf("%s is no CMW: %w; for bare Evidence say its --media-type", name, err)
	}
	return m, nil
}

// explained is what --json prints.
type explained struct {
	Policy       string                 `json:"policy"`
	Bound        bool                   `json:"bound"` // the binding was compared
	Acceptable   bool                   `json:"acceptable"`
	Reasons      []string               `json:"reasons,omitempty"` // why not
	Environments []explainedEnvironment `json:"environments"`
}

type explainedEnvironment struct {
	Name     string             `json:"name,omitempty"`
	Platform string             `json:"platform"`
	Tier     string             `json:"tier,omitempty"`
	Outcomes []verifier.Outcome `json:"outcomes,omitempty"`
}

func newExplained(p *policy.Policy, x *policy.Explanation) explained {
	out := explained{Policy: p.ID(), Bound: x.Bound, Acceptable: x.Err == nil, Environments: []explainedEnvironment{}, Reasons: reasons(x.Err)}
	for _, e := range x.Environments {
		part := explainedEnvironment{Name: e.Name, Platform: e.Platform}
		if e.Explanation != nil {
			part.Tier, part.Outcomes = e.Explanation.Appraisal.Status.String(), e.Explanation.Outcomes
		}
		out.Environments = append(out.Environments, part)
	}
	return out
}

// reasons are the lines of an error, each one reason.
func reasons(err error) []string {
	if err == nil {
		return nil
	}
	text := strings.ReplaceAll(err.Error(), attestation.ErrRejected.Error()+": ", "")
	return strings.Split(text, "\n")
}

func writeExplained(w io.Writer, p *policy.Policy, x *policy.Explanation) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "policy %s\n", p.ID())
	for _, e := range x.Environments {
		name := e.Platform
		if e.Name != "" {
			name = e.Name + " (" + e.Platform + ")"
		}
		fmt.Fprintf(&b, "%s\n", name)
		if e.Explanation == nil {
			fmt.Fprintf(&b, "  %-8s  %s\n", "fails", show.Line(e.Err.Error(), 0))
			continue
		}
		for _, o := range e.Explanation.Outcomes {
			check := string(o.Check)
			if o.Subject != "" {
				check += fmt.Sprintf(" %q", o.Subject)
			}
			line := fmt.Sprintf("  %-8s  %-24s", o.Verdict, check)
			if o.Want != "" {
				line += " want " + o.Want + ", got " + o.Got
			} else if o.Got != "" {
				line += " " + o.Got
			}
			fmt.Fprintln(&b, strings.TrimRight(show.Line(line, 0), " "))
		}
	}
	switch {
	case x.Err != nil:
		fmt.Fprintf(&b, "REFUSED: %s\n", show.Line(strings.Join(reasons(x.Err), "; "), 0))
	case !x.Bound:
		fmt.Fprintln(&b, "ACCEPTABLE as far as it was compared; to WHICH CONNECTION it belongs was not (--binding)")
	default:
		fmt.Fprintln(&b, "ACCEPTABLE for the connection of the binding")
	}
	_, err := w.Write(b.Bytes())
	return err
}
