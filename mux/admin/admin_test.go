package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Control of functions.
type fake struct {
	reload  func(ctx context.Context) (*admin.Changes, error)
	restart func(name string) error
}

func (f fake) Status() admin.Status {
	return admin.Status{Version: "1.2.3", Providers: []admin.Provider{{Name: "login", Status: "up"}}}
}
func (f fake) Reload(ctx context.Context) (*admin.Changes, error) { return f.reload(ctx) }
func (f fake) Restart(_ context.Context, name string) error       { return f.restart(name) }
func (f fake) Drain(context.Context, string) error                { return nil }
func (f fake) Disable(context.Context, string) error              { return nil }
func (f fake) Enable(context.Context, string) error               { return nil }
func (f fake) ExpectDoubles(time.Duration) admin.Doubles          { return admin.Doubles{} }
func (f fake) Doubles() admin.Doubles                             { return admin.Doubles{} }
func (f fake) Search(trail.Query) *trail.Found                    { return new(trail.Found) }
func (f fake) Follow(trail.Filter) (*trail.Follower, error)       { return nil, trail.ErrTooMany }

// folder is one with a path short enough for a socket.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func serve(t *testing.T, c admin.Control) (*admin.Client, string) {
	t.Helper()
	path := filepath.Join(folder(t), "new", "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.Serve(l, c, admin.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Close(ctx)
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
	return admin.NewClient(path, ""), path
}

func TestRequests(t *testing.T) {
	t.Parallel()
	c, path := serve(t, fake{
		reload: func(context.Context) (*admin.Changes, error) {
			return &admin.Changes{Added: []string{"a", "b"}, Reordered: true}, nil
		},
		restart: func(name string) error {
			switch name {
			case "login":
				return nil
			case "broken":
				return errors.New("it <does> not start")
			}
			return fmt.Errorf("%w: %s", admin.ErrNoProvider, name)
		},
	})
	ctx := t.Context()
	if s, err := c.Status(ctx); err != nil || s.Version != "1.2.3" || s.Providers[0].Name != "login" {
		t.Errorf("status %+v, %v", s, err)
	}
	if got, err := c.Reload(ctx); err != nil || got.String() != "added a, b; another order" {
		t.Errorf("reload: %v, %v", got, err)
	}
	if _, err := c.Do(ctx, "restart", "login"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]admin.Error{
		"broken":      {Code: "failed", Message: "it <does> not start"},
		"no/such one": {Code: "not_found", Message: "there is no such provider: no/such one"},
	} {
		var got *admin.Error
		if _, err := c.Do(ctx, "restart", name); !errors.As(err, &got) || *got != want {
			t.Errorf("restart of %s: %v", name, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
}

// What is not there is answered in the same shape.
func TestUnknownRequests(t *testing.T) {
	t.Parallel()
	_, path := serve(t, fake{})
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/v1/reload", 405, `{"error":{"code":"not_allowed","message":"GET /v1/reload: method not allowed"}}`},
		{"GET", "/v2/status", 404, `{"error":{"code":"not_found","message":"GET /v2/status: not found"}}`},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, nil)
		resp, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		_ = resp.Write(&b)
		_ = resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(b.String(), c.body) || !strings.Contains(b.String(), "application/json") {
			t.Errorf("%s %s: %s", c.method, c.path, b.String())
		}
	}
}

// Who hangs up breaks the reload off.
func TestHangingUpBreaksOff(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	c, _ := serve(t, fake{reload: func(ctx context.Context) (*admin.Changes, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := c.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	<-ended
}

func TestSocketsInTheWay(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	path := filepath.Join(dir, "admin.sock")
	refused := func(path, want string) {
		t.Helper()
		if l, err := admin.Listen(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v, want %q", err, want)
			if l != nil {
				_ = l.Close()
			}
		}
	}
	// One that was left behind is replaced.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	first, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	refused(path, "taken, perhaps by another hookmux")
	// Somebody took the place by force: it is not ours to remove.
	_ = os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	if _, err := os.Stat(path); err != nil {
		t.Error("somebody else's file was removed")
	}
	refused(path, "is there and no socket")
	refused(filepath.Join(path, "admin.sock"), "not a directory")
	refused(filepath.Join(dir, strings.Repeat("x", 100)), "more than the 103")
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	refused(filepath.Join(open, "s"), "others may change what is in")

	nobody := admin.NewClient(filepath.Join(dir, "nobody"), "")
	if _, err := nobody.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no hookmux serves") {
		t.Errorf("error: %v", err)
	}
}
