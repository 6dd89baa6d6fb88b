package refusal

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// The log is the process's, so these tests take turns.
func logged(t *testing.T, f func()) []string {
	t.Helper()
	var b bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	f()
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := logged(t, func() {
			var l Log
			for range 1000 {
				l.Deny("wrong password", &sdk.ClientInfo{Username: "alice", Clientid: "car", Peerhost: "::1"})
			}
			l.Deny("wrong password", &sdk.ClientInfo{Username: "bob"}, "more", 1)
			time.Sleep(time.Minute)
			l.Deny("wrong password", &sdk.ClientInfo{Username: "alice", Clientid: "car", Peerhost: "::1"})
		})
		if len(lines) != 3 {
			t.Fatalf("%d lines: %q", len(lines), lines)
		}
		for i, want := range []string{
			`why="wrong password" user=alice client=car address=::1`, `user=bob client="" address="" more=1 not_logged=999`, `user=alice`,
		} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: no %s", lines[i], want)
			}
		}
	})
}

func TestFloodOfDifferentClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Log
		lines := logged(t, func() {
			for i := range 3 * kept {
				l.Deny("unknown user", &sdk.ClientInfo{Username: strings.Repeat("é", 30_000), Clientid: fmt.Sprint(i)})
			}
			time.Sleep(time.Second)
			l.Deny("unknown user", &sdk.ClientInfo{})
		})
		if len(lines) != linesASecond+1 || !strings.Contains(lines[linesASecond], fmt.Sprint("not_logged=", 3*kept-linesASecond)) {
			t.Errorf("%d lines, last %s", len(lines), lines[len(lines)-1])
		}
		if len(lines[0]) > 400 {
			t.Errorf("a line of %d bytes", len(lines[0]))
		}
		if len(l.seen) > kept {
			t.Errorf("%d kept", len(l.seen))
		}
	})
}
