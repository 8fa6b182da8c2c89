// Package tsm collects reports through configfs-tsm, the Linux interface to the
// attestation of confidential VMs (/sys/kernel/config/tsm/report, Linux 6.7).
package tsm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/linuxtsm"
	"github.com/google/go-configfs-tsm/report"
)

var (
	// ErrUnavailable: this machine has no configfs-tsm.
	ErrUnavailable = errors.New("configfs-tsm is not there: mount configfs, and load the driver of the confidential VM")
	// ErrProvider: the reports of this machine are those of another platform.
	ErrProvider = errors.New("configfs-tsm belongs to another platform")
	// ErrCollect: the kernel gave no report.
	ErrCollect = errors.New("the kernel gave no report")
)

// Client reads and writes configfs-tsm.
type Client = configfsi.Client

// Open returns the client of this machine. The error wraps [ErrUnavailable].
func Open() (Client, error) {
	c, err := linuxtsm.MakeClient()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c, nil
}

// Request is what a report is asked for.
type Request struct {
	Provider   string // name of the kernel's driver, such as "sev_guest"
	ReportData [64]byte
	// Level is the privilege level to report at; nil leaves it to the kernel.
	Level *uint
}

// Report is what the kernel answered.
type Report struct {
	Out []byte // report or quote
	Aux []byte // certificates, nil if there are none
}

// MaxCollecting is how many requests are with the kernel at a time, those that
// nobody waits for any more included; others wait. Without it peers that ask and
// leave would pile up requests that firmware holds back.
const MaxCollecting = 16

// collecting has an element for every request that is with the kernel.
var collecting = make(chan struct{}, MaxCollecting)

// Collect makes a report. It returns when ctx ends: firmware may hold a request
// back for seconds, and the request is then finished unobserved.
func Collect(ctx context.Context, c Client, r Request) (Report, error) {
	type outcome struct {
		report Report
		err    error
	}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	select {
	case collecting <- struct{}{}:
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-collecting }()
		out, err := collect(c, r)
		done <- outcome{out, err}
	}()
	select {
	case o := <-done:
		return o.report, o.err
	case <-ctx.Done():
		return Report{}, context.Cause(ctx)
	}
}

func collect(c Client, r Request) (out Report, err error) {
	req := &report.Request{InBlob: r.ReportData[:]}
	if r.Level != nil {
		req.Privilege = &report.Privilege{Level: *r.Level}
	}
	open, err := report.Create(c, req)
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrCollect, err)
	}
	// An entry that stays behind holds kernel memory until the machine stops.
	defer func() {
		if e := open.Destroy(); e != nil && err == nil {
			out, err = Report{}, fmt.Errorf("%w: remove the entry: %w", ErrCollect, e)
		}
	}()
	answer, err := open.Get()
	if err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrCollect, err)
	}
	if got := strings.TrimSuffix(answer.Provider, "\n"); got != r.Provider {
		return Report{}, fmt.Errorf("%w: it is %.32q, want %q", ErrProvider, got, r.Provider)
	}
	if len(answer.OutBlob) == 0 {
		return Report{}, fmt.Errorf("%w: it is empty", ErrCollect)
	}
	// Not every driver has certificates, nor every host that serves them. Read
	// after the report, they belong to the same request.
	aux, err := open.ReadOption("auxblob")
	if report.GetGenerationErr(err) != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrCollect, err)
	}
	if err != nil || len(aux) == 0 {
		aux = nil
	}
	return Report{Out: answer.OutBlob, Aux: aux}, nil
}
