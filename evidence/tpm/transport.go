package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// An Opener opens a transport that carries TPM commands and responses as they are,
// one at a time. It returns when ctx ends.
type Opener func(ctx context.Context) (io.ReadWriteCloser, error)

// Device opens a device of the Linux kernel. Use one with a resource manager,
// /dev/tpmrm0, which other programs can then use too.
func Device(path string) Opener {
	return func(context.Context) (io.ReadWriteCloser, error) { return os.OpenFile(path, os.O_RDWR, 0) }
}

// Socket dials a socket that carries TPM commands, such as the server socket of
// swtpm: network is unix or tcp. Nothing protects a TCP connection: keep it on
// the loopback interface.
func Socket(network, address string) Opener {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// Address makes an Opener of text: "device:/dev/tpmrm0", "unix:/run/swtpm.sock" or
// "tcp:127.0.0.1:2321". The error wraps [ErrOptions].
func Address(s string) (Opener, error) {
	kind, where, _ := strings.Cut(s, ":")
	switch {
	case where == "":
	case kind == "device":
		return Device(where), nil
	case kind == "unix", kind == "tcp":
		return Socket(kind, where), nil
	}
	return nil, fmt.Errorf("%w: the address of a TPM is device:PATH, unix:PATH or tcp:HOST:PORT", ErrOptions)
}

// maxMessage is the largest TPM response taken, in bytes. TPMs have buffers of 4096.
const maxMessage = 4096

// headerSize is that of a response: tag, size, response code.
const headerSize = 10

// A TPM that answers TPM_RC_RETRY and the like is asked again, after a pause that
// doubles from retryFirst, for at most retries times.
const (
	retryFirst = 5 * time.Millisecond
	retries    = 10
)

// roundTrip sends one command and reads its response, within a time limit where
// the transport has one.
func roundTrip(conn io.ReadWriter, limit time.Duration, command []byte) ([]byte, error) {
	if c, ok := conn.(interface{ SetDeadline(time.Time) error }); ok {
		if err := c.SetDeadline(time.Now().Add(limit)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
			return nil, err
		}
	}
	pause := retryFirst
	for attempt := 0; ; attempt++ {
		if _, err := conn.Write(command); err != nil {
			return nil, err
		}
		response, err := readResponse(conn)
		if err != nil || attempt == retries || !busy(response) {
			return response, err
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// readResponse reads until the size in the header. A device gives a response in
// one read and drops what does not fit; a socket gives it in any pieces.
func readResponse(r io.Reader) ([]byte, error) {
	b := make([]byte, maxMessage)
	n, size := 0, headerSize
	for n < size {
		m, err := r.Read(b[n:])
		n += m
		if n >= headerSize {
			size = int(binary.BigEndian.Uint32(b[2:6]))
			if size < headerSize || size > maxMessage || n > size {
				return nil, fmt.Errorf("response of %d bytes claims to have %d", n, size)
			}
		}
		if n < size && err != nil {
			return nil, unexpectedEOF(err)
		}
	}
	return b[:n], nil
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// busy tells whether the response code asks to send the command again.
func busy(response []byte) bool {
	switch tpm2.TPMRC(binary.BigEndian.Uint32(response[6:10])) {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate:
		return true
	}
	return false
}
