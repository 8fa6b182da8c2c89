package expathttp

import (
	"errors"
	"fmt"
	"io"

	"github.com/expat-go/expat"
)

// body is that of a request or a response. As with a Conn, nothing is delivered of what
// lies in a buffer once a verdict has ended.
type body struct {
	io.ReadCloser
	conn *expat.Conn
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if err := failure(b.conn); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = explain(b.conn, err)
	}
	return n, err
}

// explain says why a connection failed, if that is what an error comes from. net/http
// tells it to one request, and others that it closed the connection for that one.
func explain(conn *expat.Conn, err error) error {
	if why := failure(conn); why != nil && !errors.Is(err, why) {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}
