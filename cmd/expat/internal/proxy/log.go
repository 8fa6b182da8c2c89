package proxy

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/expat-go/expat/cmd/expat/internal/proxy/config"
)

// lossy counts the lines that cannot be written. Nothing else is done about them:
// there is no other place to tell of it.
type lossy struct {
	io.Writer
	lost prometheus.Counter
}

func (l lossy) Write(b []byte) (int, error) {
	n, err := l.Writer.Write(b)
	if err != nil {
		l.lost.Inc()
	}
	return n, err
}

// newLog is the log that a configuration asks for.
func newLog(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the configuration admits four words
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// perSecond bounds the lines of one kind that peers can cause in a second.
const perSecond = 20

// sampledLog logs what peers cause. What is too much is counted, and told with the
// next line that is written.
type sampledLog struct {
	log *slog.Logger

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	second time.Time
	lines  int
	left   int // out, since the last line
}

// maxText is how much of the text of an error is told, in bytes: a peer's certificate
// alone can have hundreds of kilobytes of names.
const maxText = 2 << 10

// oneLine is the text of an error without line breaks, which joined errors have.
func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return text
}

// write writes one line of a kind; kinds are few.
func (l *sampledLog) write(level slog.Level, what, message string, attrs ...any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	l.mu.Lock()
	k := l.kinds[what]
	if k == nil {
		k = new(kind)
		l.kinds[what] = k
	}
	if now := time.Now().Truncate(time.Second); now != k.second {
		k.second, k.lines = now, 0
	}
	if k.lines++; k.lines > perSecond {
		k.left++
		l.mu.Unlock()
		return
	}
	if k.left > 0 {
		attrs = append(attrs, "suppressed", k.left)
		k.left = 0
	}
	l.mu.Unlock()
	l.log.Log(context.Background(), level, message, attrs...)
}
