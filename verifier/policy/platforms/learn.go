package platforms

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/expat-go/expat/evidence"
	"github.com/expat-go/expat/evidence/sevsnp"
	"github.com/expat-go/expat/evidence/tdx"
)

type learn func(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, []string, error)

// learnPlain is for platforms whose section is not needed.
func learnPlain(x evidence.Extractor) learn {
	return func(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, []string, error) {
		c, err := x.Extract(ctx, mediaType, value, roots, now)
		return c, nil, err
	}
}

// learnSEVSNP demands levels of firmware that there are not: what is found wrong
// states those of the report.
func learnSEVSNP(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, []string, error) {
	extract := func(floor map[string]sevsnp.TCB) (*evidence.Claims, error) {
		x, err := sevsnp.New(sevsnp.Options{
			Policy:        sevsnp.Policy{MinTCB: floor},
			AcceptRevoked: true, // the draft says to look
		})
		if err != nil {
			return nil, err
		}
		return x.Extract(ctx, mediaType, value, roots, now)
	}
	highest := sevsnp.NewTCB(0xff, 0xff, 0xff, 0xff)
	c, err := extract(map[string]sevsnp.TCB{"Milan": highest, "Genoa": highest})
	if err != nil {
		return nil, nil, err
	}
	for _, f := range c.Findings {
		var line string
		var level [4]uint8
		_, err := fmt.Sscanf(f.Got, "%s with bootloader %d, tee %d, snp %d, microcode %d", &line, &level[0], &level[1], &level[2], &level[3])
		if f.Check != string(sevsnp.CheckTCB) || err != nil {
			continue
		}
		section := []string{
			"fetch_from_amd: true  # asks AMD which keys are withdrawn; or list revocation_lists",
			"min_tcb:  # the level that was seen: raise it where that has known holes",
			fmt.Sprintf("  %s: {bootloader: %d, tee: %d, snp: %d, microcode: %d}", line, level[0], level[1], level[2], level[3]),
		}
		// What is wrong beside the level, a launch at a lower one included.
		c, err := extract(map[string]sevsnp.TCB{line: sevsnp.NewTCB(level[0], level[1], level[2], level[3])})
		return c, section, err
	}
	return nil, nil, fmt.Errorf("the levels of the firmware are not known: %w", evidence.ErrFormat)
}

// learnTDX does the same with TEE_TCB_SVN. That the firmware is up to date only
// Intel's collateral says.
func learnTDX(ctx context.Context, mediaType string, value []byte, roots *x509.CertPool, now time.Time) (*evidence.Claims, []string, error) {
	o := tdx.Options{AcceptUnknownTCB: true} // the draft does not
	copy(o.Policy.MinTCB[:], bytes.Repeat([]byte{0xff}, tcbSize))
	x, err := tdx.New(o)
	if err != nil {
		return nil, nil, err
	}
	c, err := x.Extract(ctx, mediaType, value, roots, now)
	if err != nil {
		return nil, nil, err
	}
	section := []string{"fetch_from_intel: true  # asks Intel whether the firmware is up to date; or list collateral"}
	for i, f := range c.Findings {
		if svn, err := hex.DecodeString(f.Got); f.Check == string(tdx.CheckTCB) && err == nil && len(svn) == tcbSize {
			section = append(section, fmt.Sprintf("min_tcb: %q  # the level that was seen", f.Got))
			c.Findings = append(c.Findings[:i:i], c.Findings[i+1:]...)
			return c, section, nil
		}
	}
	return nil, nil, fmt.Errorf("the level of the firmware is not known: %w", evidence.ErrFormat)
}
