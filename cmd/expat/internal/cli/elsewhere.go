package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/cmd/expat/internal/platform"
)

// elsewhereFlags say who appraises where this side does not do it itself.
type elsewhereFlags struct {
	verifier       string
	passport       string
	passportCached bool
	accept         bool
	acceptKeyBound bool
	from           platform.Elsewhere
}

const defaultIssuer = "expat-verifier"

func (f *elsewhereFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.verifier, "verifier", "", "have the verifier at `URL` judge the Evidence of the other side")
	flags.StringVar(&f.passport, "passport", "", "show the other side what the verifier at `URL` says of our Evidence (a passport),\nasked for each connection")
	flags.BoolVar(&f.passportCached, "passport-cached", false, "with --passport: ask beforehand, and show on every connection what was said then")
	flags.BoolVar(&f.accept, "accept-passport", false, "demand a passport of the other side, issued for the connection")
	flags.BoolVar(&f.acceptKeyBound, "accept-key-bound-passport", false, "demand a passport issued for the key; it says what the other side was then,\nnot what it is now")
	flags.StringVar(&f.from.Keys, "verifier-keys", "", "JWK Set of the verifier, as `FILE|URL`; default: verifier-jwks.json in --state")
	flags.StringVar(&f.from.CA, "verifier-ca", "", "roots of the verifier's TLS certificate in `FILE` (PEM); default: the system's")
	flags.StringVar(&f.from.Issuer, "verifier-issuer", defaultIssuer, "`NAME` that the verifier must have in its results")
}

// judges tells whether another than this side says what is acceptable.
func (f *elsewhereFlags) judges() bool { return f.verifier != "" || f.accepts() }

// accepts tells whether a passport is demanded.
func (f *elsewhereFlags) accepts() bool { return f.accept || f.acceptKeyBound }

// check finds flags that cannot be meant beside those of the side.
func (f *elsewhereFlags) check(side *sideFlags) error {
	given := f.from.Keys != "" || f.from.CA != "" || f.from.Issuer != defaultIssuer
	if f.from.Keys == "" {
		f.from.Keys = platform.DefaultKeys(side.state)
	}
	switch {
	case f.verifier != "" && f.accepts():
		return errors.New("--verifier judges Evidence, and --accept-passport takes a verdict: give one of the two")
	case f.accept && f.acceptKeyBound:
		return errors.New("--accept-passport and --accept-key-bound-passport: give one of the two")
	case f.judges() && side.policy != "":
		return errors.New("--policy is for judging here: give it to the verifier")
	case f.accepts() && side.expect != "":
		return errors.New("--expect names Evidence, and a passport is none: leave it out")
	case f.accepts() && side.save != "":
		return errors.New("--save-evidence saves Evidence, and a passport is none: leave it out")
	case f.passport != "" && side.attester == "":
		return errors.New("--passport needs --attester: the verifier judges its Evidence")
	case f.passportCached && f.passport == "":
		return errors.New("--passport-cached needs --passport URL")
	case f.from.Issuer == "":
		return errors.New("--verifier-issuer must not be empty")
	case given && !f.judges() && f.passport == "":
		return errors.New("--verifier-keys, --verifier-ca and --verifier-issuer are about --verifier, --passport and --accept-passport: give one of them")
	}
	return nil
}

// attester has own show passports, where that is wanted.
func (f *elsewhereFlags) attester(own *platform.Own) (*platform.Own, error) {
	if f.passport == "" {
		return own, nil
	}
	return f.from.Passport(own, f.passport, f.passportCached)
}

// judge makes what judges the other side by the word of a verifier.
func (f *elsewhereFlags) judge(j *judging, expect string) (err error) {
	if f.accepts() {
		j.Verifier, err = f.from.Accept(f.acceptKeyBound)
		return err
	}
	v, err := f.from.Judge(f.verifier, expect)
	if err != nil {
		return err
	}
	j.Verifier, j.close = v, v.Close
	return nil
}
