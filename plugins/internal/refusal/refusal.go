// Package refusal logs what a plugin refused: enough to see what happens, and not a line for
// each of a million attempts.
package refusal

import (
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hookmux/hookmux/plugins/sdk"
)

const (
	// The same reason of the same user, client and address is logged once in this time.
	again = time.Minute
	// Of all refusals, so many lines are logged in a second.
	linesASecond = 10
	// The most that is remembered.
	kept = 10_000
)

// Log is a log of refusals. The zero value is ready; it may be used from many goroutines.
type Log struct {
	mu      sync.Mutex
	seen    map[key]time.Time
	second  time.Time
	lines   int
	skipped int // not logged since the last line
}

type key struct{ why, user, client, address string }

// Deny logs that a client was refused, and why, unless that was said lately. attrs are
// further attributes; none of all that may be a secret.
func (l *Log) Deny(why string, c *sdk.ClientInfo, attrs ...any) {
	k := key{why, Short(c.GetUsername()), Short(c.GetClientid()), Short(c.GetPeerhost())}
	skipped, ok := l.take(k, time.Now())
	if !ok {
		return
	}
	attrs = append([]any{"why", why, "user", k.user, "client", k.client, "address", k.address}, attrs...)
	if skipped > 0 {
		attrs = append(attrs, "not_logged", skipped)
	}
	slog.Info("refused", attrs...)
}

func (l *Log) take(k key, now time.Time) (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.seen[k]; ok && now.Sub(at) < again {
		l.skipped++
		return 0, false
	}
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines == linesASecond {
		l.skipped++
		return 0, false
	}
	l.lines++
	if l.seen == nil || len(l.seen) >= kept {
		l.seen = map[key]time.Time{}
	}
	l.seen[k] = now
	skipped, l.skipped = l.skipped, 0
	return skipped, true
}

// Short cuts what may be 64 KiB long, and is no use to a reader then.
func Short(s string) string {
	const most = 100
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.ToValidUTF8(s[:end], "\uFFFD") + "…"
}
