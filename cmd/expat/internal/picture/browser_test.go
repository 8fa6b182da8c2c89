package picture

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBrowser has a real browser lay the page out and draw it.
func TestBrowser(t *testing.T) {
	t.Parallel()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("Chromium is missing: apt-get install chromium")
	}
	dir := t.TempDir()
	var b bytes.Buffer
	require.NoError(t, Write(&b, example()))
	file := filepath.Join(dir, "page.html")
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))

	dom := headless(t, browser, dir, "--dump-dom", "file://"+file)
	require.Equal(t, 5, bytes.Count(dom, []byte(`<g class="step`)), "a row for each step")
	require.Equal(t, 2, bytes.Count(dom, []byte(`<polygon class="tip"`)), "an arrow for each frame")
	require.Contains(t, string(dom), `<td class="refused">refused</td>`)

	picture := filepath.Join(dir, "page.png")
	headless(t, browser, dir, "--window-size=1150,900", "--screenshot="+picture, "file://"+file)
	f, err := os.Open(picture)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	require.Equal(t, 1150, img.Bounds().Dx())
	// The two arrows are drawn, in their colour and where the layout has them.
	blue := 0
	for y := range img.Bounds().Dy() {
		if r, g, b, _ := img.At(575, y).RGBA(); r>>8 == 0x1f && g>>8 == 0x5f && b>>8 == 0xbf {
			blue++
		}
	}
	require.GreaterOrEqual(t, blue, 2, "arrows in the middle of the figure")
}

func headless(t *testing.T, browser, dir string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir=" + filepath.Join(dir, "profile"),
	}, args...)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}
