package trail_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/trail"
)

func follow(t *testing.T, tr *trail.Trail, filter trail.Filter) *trail.Follower {
	t.Helper()
	f, err := tr.Follow(filter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// seen is what a follower has got, in short.
func seen(f *trail.Follower) (out string) {
	for range len(f.Events()) {
		switch e := <-f.Events(); {
		case e.Decision != nil:
			out += fmt.Sprintf("%s of %s; ", e.Decision.Answer, e.Decision.Client)
		default:
			out += fmt.Sprintf("%s %s to %s; ", e.Notification.Client, e.Notification.Outcome, e.Notification.Provider)
		}
	}
	return out
}

func TestFollowersGetWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{Size: -1}) // which has nothing to do with it
	all := follow(t, tr, trail.Filter{})
	one := follow(t, tr, trail.Filter{Client: "one"})
	b := follow(t, tr, trail.Filter{Provider: "b"})
	hook := follow(t, tr, trail.Filter{Hook: "client.connected"})
	topic := follow(t, tr, trail.Filter{Topic: "s/#"})

	tell(tr, decided(login(t, "one"), mux.VerdictDeny, mux.Asked{Provider: "a"}))
	tell(tr, decided(authorize(t, "two", "s/x"), mux.VerdictAllow, mux.Asked{Provider: "b"}))
	told := func(ev *mux.Event, provider string, r mux.Reason, err error) {
		tr.Notified(&mux.Notification{Event: ev, Provider: provider, Reason: r, Err: err, Start: time.Unix(1, 0), Took: time.Second})
	}
	told(event(t, mux.ClientConnected, connected("one")), "a", mux.ReasonNone, nil)
	told(event(t, mux.ClientConnected, connected("two")), "b", mux.ReasonTimeout, errors.New("late"))
	for _, c := range []struct {
		f    *trail.Follower
		want string
	}{
		{all, "deny of one; allow of two; one delivered to a; two timeout to b; "},
		{one, "deny of one; one delivered to a; "},
		{b, "allow of two; two timeout to b; "},
		{hook, "one delivered to a; two timeout to b; "},
		{topic, "allow of two; "},
	} {
		if got := seen(c.f); got != c.want || c.f.Lost() != 0 {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	all.Close()
	all.Close()
	tell(tr, decided(login(t, "one"), mux.VerdictAllow))
	if got := seen(all) + "/ " + seen(one); got != "/ allow of one; " {
		t.Errorf("after one has ended: %q", got)
	}
}

// Who is too slow loses events, is told how many, and holds nobody up.
func TestASlowFollowerLosesEvents(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{})
	slow := follow(t, tr, trail.Filter{})
	other := follow(t, tr, trail.Filter{Client: "x"})
	for range 1000 {
		tell(tr, decided(login(t, "c"), mux.VerdictAllow))
	}
	tell(tr, decided(login(t, "x"), mux.VerdictAllow))
	got := int64(len(slow.Events()))
	if lost := slow.Lost(); got == 0 || got+lost != 1001 || slow.Lost() != 0 {
		t.Errorf("got %d, lost %d", got, lost)
	}
	if s := seen(other); s != "allow of x; " {
		t.Errorf("the other one got %q", s)
	}
}

func TestFollowersAreFew(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{})
	var last *trail.Follower
	for range 16 {
		last = follow(t, tr, trail.Filter{})
	}
	if _, err := tr.Follow(trail.Filter{}); !errors.Is(err, trail.ErrTooMany) {
		t.Errorf("error: %v", err)
	}
	last.Close()
	follow(t, tr, trail.Filter{})
}
