package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/trail"
)

// withTrail is a Control with a trail that can be followed.
type withTrail struct {
	fake
	*trail.Trail
}

func (w withTrail) Search(q trail.Query) *trail.Found              { return w.Trail.Search(q) }
func (w withTrail) Follow(f trail.Filter) (*trail.Follower, error) { return w.Trail.Follow(f) }

func decide(tr *trail.Trail, n int) {
	ev := mux.NewEvent(mux.ClientAuthenticate, nil)
	for i := range n {
		tr.Decided(context.Background(), &mux.Decision{Event: &ev, Start: time.Unix(int64(i), 0), Answer: mux.VerdictDeny, By: "login"})
	}
}

// What happens is sent, what was too much is said, and following ends with either side.
func TestTail(t *testing.T) {
	t.Parallel()
	const many = 1000
	tr := trail.New(trail.Options{})
	c, _ := serve(t, withTrail{Trail: tr})
	ctx, cancel := context.WithCancel(t.Context())
	decisions, notifications, lost := 0, 0, 0
	var last uint64
	err := c.Follow(ctx, trail.Filter{Provider: ""}, func() {
		ev := mux.NewEvent(mux.ClientConnected, nil)
		tr.Notified(&mux.Notification{Event: &ev, Provider: "audit"})
		decide(tr, many)
	}, func(e admin.Followed) error {
		switch {
		case e.Decision != nil:
			if decisions++; e.Decision.By != "login" || e.Decision.ID <= last {
				return fmt.Errorf("decision %d: %+v", decisions, e.Decision)
			}
			last = e.Decision.ID
		case e.Notification != nil:
			notifications++
		default:
			lost += int(e.Lost.Events)
		}
		if decisions+lost == many {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || notifications != 1 || decisions == 0 || lost == 0 {
		t.Errorf("%d decisions, %d notifications, %d lost: %v", decisions, notifications, lost, err)
	}
}

func TestTailEndsWithHookmux(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t), "admin.sock")
	l, err := admin.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.Serve(l, withTrail{Trail: trail.New(trail.Options{})}, admin.Options{})
	c := admin.NewClient(path, "")
	err = c.Follow(t.Context(), trail.Filter{}, func() { go s.Close(context.Background()) }, nil)
	if err == nil || !strings.Contains(err.Error(), "hookmux went away") {
		t.Errorf("error: %v", err)
	}
	if err := c.Follow(t.Context(), trail.Filter{}, nil, nil); err == nil {
		t.Error("somebody answered")
	}
}

// The token reaches hookmux, and what is wrong without it is said.
func TestClientOverTCP(t *testing.T) {
	t.Parallel()
	l, err := admin.ListenTCP("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	tr := trail.New(trail.Options{})
	s := admin.Serve(l, withTrail{Trail: tr}, admin.Options{Token: "0123456789abcdef"})
	t.Cleanup(func() { s.Close(context.Background()) })
	address := "http://" + l.Addr().String()
	c := admin.NewClient(address, "0123456789abcdef")
	decide(tr, 3)
	if found, err := c.Search(t.Context(), trail.Query{Hook: "client.authenticate", Answer: "refused", Limit: 2, Before: 3}); err != nil || len(found.Decisions) != 2 || found.Decisions[0].ID != 2 {
		t.Errorf("found %+v, %v", found, err)
	}
	if p, err := c.Provider(t.Context(), "login"); err != nil || p.Name != "login" {
		t.Errorf("provider %+v, %v", p, err)
	}
	for token, want := range map[string]string{"": "wants its token", "wrong": "wants its token"} {
		if _, err := admin.NewClient(address, token).Status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	if _, err := admin.NewClient("http://"+other.Addr().String(), "").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no hookmux serves http://127.0.0.1:") {
		t.Errorf("error: %v", err)
	}
}
