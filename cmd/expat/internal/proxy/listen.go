package proxy

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
)

// socketMode lets the owner and the group of a Unix socket connect.
const socketMode = 0o660

// listen opens a listener. A socket that a process left behind is replaced, one that
// is in use is not.
func listen(ctx context.Context, at string) (net.Listener, error) {
	network, address := config.Address(at)
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, address)
	if network != "unix" {
		return ln, err
	}
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, address) {
		if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		ln, err = lc.Listen(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address, socketMode); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// abandoned tells whether a path is a socket that nobody listens on.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// shown is how an address is printed and named in a configuration.
func shown(a net.Addr) string {
	if a.Network() == "unix" {
		return config.UnixPrefix + a.String()
	}
	return a.String()
}
