package cli

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/expat-go/expat/attestation"
	"github.com/expat-go/expat/cmd/expat/internal/appraise"
	"github.com/expat-go/expat/cmd/expat/internal/platform"
	"github.com/expat-go/expat/cmd/expat/internal/state"
	"github.com/expat-go/expat/verifier/ear"
	"github.com/expat-go/expat/verifier/policy"
	"github.com/expat-go/expat/verifier/service"
)

func newVerifier() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verifier",
		Short: "Appraise Evidence for relying parties elsewhere",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.AddCommand(newVerifierServe())
	return cmd
}

type verifierFlags struct {
	listen, state, policy  string
	expect, side           string
	key, issuer, audience  string
	publish                string
	cert, certKey, clients string
	expose, json           bool
	duration, lifetime     time.Duration
	appraisals             int
}

func newVerifierServe() *cobra.Command {
	var f verifierFlags
	cmd := &cobra.Command{
		Use:   "serve --policy FILE --key FILE | --state DIR",
		Short: "Appraise Evidence behind the challenge-response API, and answer with signed EARs",
		Long: `serve appraises what relying parties and attesters post to the challenge-response
API, and answers with an EAR (EAT Attestation Result) signed with --key. It prints
"listening on URL". An interrupt or SIGTERM lets what is under way come to its end.

It keeps no state: any number of it with the same policy and key can stand behind one
address, and a restart loses nothing. Its public key is at /.well-known/jwks.json;
/healthz says whether it runs, /readyz whether it takes new work.

With --state DIR it judges by the reference values that "expat serve" keeps there,
signs with a test key, and puts the public key into verifier-jwks.json. That key
protects nothing.`,
		Example: `  expat verifier serve --state /tmp/expat --listen 127.0.0.1:8080
  expat verifier serve --policy policy.yaml --key ear.pem --listen :8443 --tls-cert cert.pem --tls-key key.pem`,
		Args: cobra.NoArgs,
	}
	cmd.RunE = run(func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return usage(cmd, err)
		}
		err := f.serve(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		if errors.Is(err, appraise.ErrKey) || errors.Is(err, appraise.ErrTLS) {
			return usage(cmd, err)
		}
		return err
	})
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "`ADDR` to listen on; port 0 is any free port")
	flags.StringVar(&f.policy, "policy", "", "judge by the policy in `FILE`, which is read again when it changes")
	flags.StringVar(&f.state, "state", "", "judge by the test reference values in `DIR`, and sign with its test key")
	flags.StringVar(&f.expect, "expect", platform.Simulated, "with --state: judge attesters as this `PLATFORM`")
	flags.StringVar(&f.side, "side", string(state.Server), "with --state: judge attesters as this `SIDE`, server or client")
	flags.StringVar(&f.key, "key", "", "sign with the P-256 private key in `FILE` (PEM, PKCS #8)")
	flags.StringVar(&f.publish, "publish-keys", "", "publish the keys in `FILE` (JWK Set) beside one's own, such as the next and the one before")
	flags.StringVar(&f.issuer, "issuer", defaultIssuer, "`NAME` of this verifier in the results")
	flags.StringVar(&f.audience, "audience", "", "`NAME` of those whom the results are for; default: everybody")
	flags.DurationVar(&f.lifetime, "lifetime", 5*time.Minute, "how long a result holds, as a `TIME` such as 5m")
	flags.IntVar(&f.appraisals, "max-appraisals", service.DefaultMaxInFlight, "at most `N` appraisals at a time; further ones are told to come again")
	flags.StringVar(&f.cert, "tls-cert", "", "certificate chain in `FILE` (PEM); without it plain HTTP, on loopback only")
	flags.StringVar(&f.certKey, "tls-key", "", "private key of --tls-cert in `FILE` (PEM)")
	flags.StringVar(&f.clients, "client-ca", "", "answer only to clients with a certificate of a CA in `FILE` (PEM)")
	flags.BoolVar(&f.expose, "expose-test-keys", false, "listen on an address other than loopback, with a key that protects nothing")
	flags.DurationVar(&f.duration, "for", 0, "stop after this `TIME`, such as 30s; 0 is never")
	flags.BoolVar(&f.json, "json", false, "log in JSON, one object a line")
	return cmd
}

func (f *verifierFlags) check() error {
	switch {
	case (f.state == "") == (f.policy == ""):
		return errors.New("give one of --policy FILE and --state DIR")
	case f.state == "" && f.key == "":
		return errors.New("--policy needs --key FILE to sign with")
	case f.side != string(state.Server) && f.side != string(state.Client):
		return fmt.Errorf("--side %q is neither server nor client", f.side)
	case f.issuer == "":
		return errors.New("--issuer must not be empty")
	case f.duration < 0 || f.lifetime < time.Second || f.appraisals < 1:
		return errors.New("--for must not be negative, --lifetime not below 1s, --max-appraisals not below 1")
	case (f.cert == "") != (f.certKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case f.clients != "" && f.cert == "":
		return errors.New("--client-ca needs --tls-cert")
	}
	if _, err := platform.Parse(f.expect); err != nil {
		return fmt.Errorf("--expect %w", err)
	}
	return f.checkListen()
}

func (f *verifierFlags) checkListen() error {
	addr, err := net.ResolveTCPAddr("tcp", f.listen)
	switch {
	case err != nil:
		return fmt.Errorf("--listen %q: %w", f.listen, err)
	case addr.IP.IsLoopback():
	case f.cert == "":
		return fmt.Errorf("--listen %q is not a loopback address: give --tls-cert and --tls-key", f.listen)
	case f.state != "" && !f.expose:
		return fmt.Errorf("--listen %q is not a loopback address, and what is in --state protects nothing; if that is what you want, add --expose-test-keys", f.listen)
	}
	f.listen = addr.String() // what was looked at
	return nil
}

// serve runs until ctx ends or the time is used up.
func (f *verifierFlags) serve(ctx context.Context, stdout, stderr io.Writer) error {
	log := (&serveFlags{sideFlags: sideFlags{json: f.json}}).logger(stderr)
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	judge, stop, err := f.judge(ctx, log)
	if err != nil {
		return err
	}
	defer stop()
	issuer, err := f.newIssuer()
	if err != nil {
		return err
	}
	published, err := appraise.ReadKeys(f.publish)
	if err != nil {
		return err
	}
	h, err := service.NewHandler(service.Options{
		Verifier: judge, Issuer: issuer, Published: published, Audience: f.audience, MaxInFlight: f.appraisals, Logger: log,
	})
	if err != nil {
		return err
	}
	config, err := appraise.TLS(f.cert, f.certKey, f.clients)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return err
	}
	scheme, addr := "http", ln.Addr()
	if config != nil {
		scheme, ln = "https", tls.NewListener(ln, config)
	}
	if _, err := fmt.Fprintf(stdout, "listening on %s://%s\n", scheme, addr); err != nil {
		return errors.Join(err, ln.Close())
	}
	return appraise.Serve(ctx, ln, h, log)
}

// judge makes what appraises; stop lets go of it.
func (f *verifierFlags) judge(ctx context.Context, log *slog.Logger) (v attestation.Verifier, stop func(), err error) {
	if f.state != "" {
		if _, _, err := state.Create(f.state, time.Now()); err != nil {
			return nil, nil, err
		}
		v, err = platform.Judge(f.state, f.expect, state.Side(f.side))
		return v, func() {}, err
	}
	r, err := policy.NewReloading(ctx, f.policy, policy.ReloadOptions{
		Options: platform.PolicyOptions(),
		Changed: policyLog(log, f.policy),
	})
	if err != nil {
		return nil, nil, policyError(f.policy, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx) // ends with ctx only
	}()
	return r, func() { cancel(); <-ended }, nil
}

// newIssuer makes what signs, and in a state directory leaves what others need to
// check the signatures.
func (f *verifierFlags) newIssuer() (*ear.Issuer, error) {
	var key crypto.Signer
	var err error
	if f.key != "" {
		key, err = appraise.ReadKey(f.key)
	} else {
		key, err = appraise.TestKey(f.state)
	}
	if err != nil {
		return nil, err
	}
	id, err := appraise.KeyID(key)
	if err != nil {
		return nil, err
	}
	issuer, err := ear.NewIssuer(ear.IssuerOptions{
		Key: key, KeyID: id, Name: f.issuer, Developer: "https://github.com/expat-go/expat", Build: "expat verifier serve",
		Lifetime: f.lifetime,
	})
	if err != nil || f.state == "" {
		return issuer, err
	}
	jwks, err := issuer.JWKS()
	if err != nil {
		return nil, err
	}
	return issuer, appraise.WriteJWKS(f.state, jwks)
}
