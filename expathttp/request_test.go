package expathttp

import (
	"bufio"
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat"
)

// A client that asks first whether its body is welcome is not asked for the body by a
// handler that answers without reading it.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	cc, sc := configs("alice", "bob", "http/1.1")
	_, addr := serve(t, sc, Require(describe, named("carol")))
	conn, err := expat.Dial(t.Context(), "tcp", addr, cc)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
}

// Files in which net/http keeps the parts of a form go with the request.
func TestFormFiles(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"h2", "http/1.1"} {
		cc, sc := configs("alice", "bob", protocol)
		kept := make(chan string, 1)
		_, addr := serve(t, sc, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(0); err != nil {
				t.Error(err)
			}
			f, err := r.MultipartForm.File["f"][0].Open()
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			kept <- f.(*os.File).Name()
		}))
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("f", "name")
		require.NoError(t, err)
		_, err = part.Write(make([]byte, 11<<20)) // net/http keeps 10 MiB in memory
		require.NoError(t, err)
		require.NoError(t, w.Close())
		c, _ := client(t, cc, Options{})
		resp, err := c.Post("https://"+addr+"/", w.FormDataContentType(), &form)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		name := <-kept
		require.Eventually(t, func() bool { _, err := os.Stat(name); return os.IsNotExist(err) }, 5*time.Second, time.Millisecond)
	}
}
