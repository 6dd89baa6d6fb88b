package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds on what a plugin prints. Longer lines are cut, more lines counted, and
// all is read, so that the plugin does not block on a full pipe; only a flood is
// read slowly, so that it costs the plugin's time and not ours.
const (
	maxLine       = 8 << 10 // bytes of one line that are kept
	bytesPerSec   = 4 << 20 // bytes of one stream that are read
	linesPerSec   = 200     // lines of one plugin that are logged
	rememberLines = 20      // lines kept for error messages
)

// output turns what a plugin prints into log lines and remembers the last ones.
type output struct {
	log *slog.Logger

	mu         sync.Mutex
	second     time.Time
	inSecond   int
	suppressed int
	last       []string // as they were printed: to parse those that nobody sees would cost more than to read them
}

// handshakeLine is what go-plugin waits for on stdout: core version, app
// version, network, address, protocol.
var handshakeLine = regexp.MustCompile(`^\d+\|\d+\|(unix|tcp)\|`)

// consume reads r to its end. The first line that is a handshake goes to
// handshake, when that is not nil; all others are logged.
func (o *output) consume(r io.Reader, stream string, handshake io.Writer) {
	br := bufio.NewReaderSize(r, maxLine)
	var budget budget
	for {
		line, err := br.ReadSlice('\n')
		line = bytes.Clone(line)
		budget.spend(len(line))
		cut := 0
		for errors.Is(err, bufio.ErrBufferFull) {
			var rest []byte
			rest, err = br.ReadSlice('\n')
			budget.spend(len(rest))
			cut += len(rest)
		}
		text := strings.TrimRight(strings.ToValidUTF8(string(line), "�"), "\r\n")
		switch {
		case handshake != nil && cut == 0 && handshakeLine.MatchString(text):
			_, _ = io.WriteString(handshake, text+"\n")
			handshake = nil
		case text != "":
			if cut > 0 {
				text += fmt.Sprintf("… (%d more bytes)", cut)
			}
			o.line(stream, text)
		}
		if err != nil {
			return
		}
	}
}

// budget slows a reader down to bytesPerSec.
type budget struct {
	second time.Time
	spent  int
}

func (b *budget) spend(n int) {
	if time.Since(b.second) >= time.Second {
		b.second, b.spent = time.Now(), 0
	}
	if b.spent += n; b.spent > bytesPerSec {
		time.Sleep(time.Until(b.second.Add(time.Second)))
	}
}

func (o *output) line(stream, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last = append(o.last, text); len(o.last) > rememberLines {
		o.last = o.last[1:]
	}
	if now := time.Now(); now.Sub(o.second) >= time.Second {
		if o.suppressed > 0 {
			o.log.Warn("plugin prints too much: lines left out", "lines", o.suppressed, "limit_per_second", linesPerSec)
		}
		o.second, o.inSecond, o.suppressed = now, 0, 0
	}
	if o.inSecond++; o.inSecond > linesPerSec {
		o.suppressed++
		return
	}
	level, msg, attrs := parseLine(text)
	if attrs == nil {
		attrs = []slog.Attr{slog.String("stream", stream)}
	}
	o.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// quote is the last n lines that the plugin printed, oldest first, set off for
// an error message; "" when it printed nothing.
func (o *output) quote(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.last) == 0 {
		return ""
	}
	lines := slices.Clone(o.last[max(0, len(o.last)-n):])
	for i, text := range lines {
		lines[i] = forPeople(text)
	}
	return "; its last output:\n  | " + strings.Join(lines, "\n  | ")
}

// forPeople is a line of structured log without its JSON.
func forPeople(text string) string {
	level, msg, attrs := parseLine(text)
	if attrs == nil {
		return text
	}
	text = level.String() + " " + msg
	for _, a := range attrs {
		text += " " + a.String()
	}
	return text
}

// parseLine reads a line of structured log, of slog or of hclog, so that a
// plugin's level and attributes survive; any other line is an info message, with
// nil attributes.
func parseLine(text string) (slog.Level, string, []slog.Attr) {
	var fields map[string]any
	if !strings.HasPrefix(text, "{") || json.Unmarshal([]byte(text), &fields) != nil {
		return slog.LevelInfo, text, nil
	}
	take := func(keys ...string) string {
		for _, k := range keys {
			if s, ok := fields[k].(string); ok {
				delete(fields, k)
				return s
			}
		}
		return ""
	}
	msg := take("msg", "@message", "message")
	if msg == "" {
		return slog.LevelInfo, text, nil
	}
	var level slog.Level
	switch l := strings.ToUpper(take("level", "@level", "severity")); l {
	case "TRACE":
		level = slog.LevelDebug
	case "WARNING":
		level = slog.LevelWarn
	case "FATAL", "CRITICAL", "PANIC":
		level = slog.LevelError
	default:
		_ = level.UnmarshalText([]byte(l)) // info when it is no level
	}
	take("time", "@timestamp", "timestamp")
	attrs := []slog.Attr{}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		attrs = append(attrs, slog.Any(k, fields[k]))
	}
	return level, msg, attrs
}
