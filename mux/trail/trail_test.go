package trail_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/trail"
	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func event(t testing.TB, h mux.Hook, req proto.Message) *mux.Event {
	t.Helper()
	body, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	ev := mux.NewEvent(h, body)
	return &ev
}

func client(id string) *exhookv3.ClientInfo {
	return &exhookv3.ClientInfo{Node: "emqx@a", Clientid: id, Username: "u-" + id, Password: "hunter2", Cn: "hunter2"}
}

func login(t testing.TB, id string) *mux.Event {
	return event(t, mux.ClientAuthenticate, &exhookv3.ClientAuthenticateRequest{Clientinfo: client(id), Meta: &exhookv3.RequestMeta{Node: "emqx@meta"}})
}

func authorize(t testing.TB, id, topic string) *mux.Event {
	return event(t, mux.ClientAuthorize, &exhookv3.ClientAuthorizeRequest{Clientinfo: client(id), Topic: topic, Type: exhookv3.ClientAuthorizeRequest_SUBSCRIBE})
}

func publish(t testing.TB, id, topic, payload string) *mux.Event {
	return event(t, mux.MessagePublish, &exhookv3.MessagePublishRequest{Message: &exhookv3.Message{
		From: id, Topic: topic, Payload: []byte(payload), Headers: map[string]string{"peerhost": "10.0.0.1", "username": "u-" + id},
	}, Meta: &exhookv3.RequestMeta{Node: "emqx@meta"}})
}

// decided is a decision by one provider.
func decided(ev *mux.Event, answer mux.Verdict, asked ...mux.Asked) *mux.Decision {
	return &mux.Decision{Event: ev, Start: time.Unix(1000, 0), Took: 1500 * time.Microsecond, Answer: answer, Asked: asked, Topic: []byte(ev.Topic())}
}

func tell(t *trail.Trail, d *mux.Decision) { t.Decided(nil, d) } //nolint:staticcheck // it has no use for a context

func clients(found *trail.Found) (ids []string) {
	for _, d := range found.Decisions {
		ids = append(ids, d.Client)
	}
	return ids
}

func search(t *testing.T, tr *trail.Trail, q trail.Query) *trail.Found {
	t.Helper()
	if err := q.Check(); err != nil {
		t.Fatal(err)
	}
	return tr.Search(q)
}

// All of a decision is there, and nothing of what must not be.
func TestADecisionIsFoundAsItWas(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{})
	d := decided(authorize(t, "c", "a/#"), mux.VerdictDeny,
		mux.Asked{Provider: "quota", Verdict: mux.VerdictAllow, Took: time.Millisecond, Waited: 2 * time.Microsecond},
		mux.Asked{Provider: "rules", Reason: mux.ReasonTimeout, Err: errors.New("no answer within 2s"), Policy: mux.Deny, Took: 2 * time.Second},
		mux.Asked{Provider: "late", Unneeded: true})
	d.Strategy, d.Final, d.By = mux.All, true, "rules, which did not answer"
	tell(tr, d)
	got := search(t, tr, trail.Query{}).Decisions[0]
	want := trail.Decision{
		ID: 1, Time: time.Unix(1000, 0), Node: "emqx@a", Hook: "client.authorize", Client: "c", Username: "u-c", Topic: "a/#", Action: "subscribe",
		Strategy: "all", Answer: "deny", Final: true, By: "rules, which did not answer", TookUs: 1500,
		Asked: []trail.Asked{
			{Provider: "quota", Verdict: "allow", TookUs: 1000, WaitedUs: 2},
			{Provider: "rules", Verdict: "none", Reason: "timeout", Error: "no answer within 2s", Policy: "deny", TookUs: 2_000_000},
			{Provider: "late", Verdict: "none", Unneeded: true},
		},
	}
	if g, w := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	if text := fmt.Sprintf("%+v", got); strings.Contains(text, "hunter2") {
		t.Errorf("a password or a certificate's name is in it: %s", text)
	}

	d = decided(publish(t, "p", "t", "secret payload"), mux.VerdictRewrite, mux.Asked{Provider: "rules", Verdict: mux.VerdictRewrite, Changed: 1<<mux.ChangeTopic | 1<<mux.ChangeQoS})
	d.Topic = []byte("u")
	tell(tr, d)
	got = search(t, tr, trail.Query{Topic: "u"}).Decisions[0]
	if got.Topic != "t" || got.NewTopic != "u" || got.Username != "u-p" || got.Node != "emqx@meta" || len(got.Payload) != 0 || !slices.Equal(got.Asked[0].Changed, []string{"topic", "qos"}) {
		t.Errorf("%+v", got)
	}
	tr.Configure(trail.Options{Payloads: true})
	tell(tr, decided(publish(t, "p", "t", "secret "+strings.Repeat("x", 2000)), mux.VerdictPass))
	tell(tr, decided(login(t, "c"), mux.VerdictAllow))
	found := search(t, tr, trail.Query{})
	if got := found.Decisions[1]; len(got.Payload) != 1024 || !strings.HasPrefix(string(got.Payload), "secret x") || got.PayloadSize != 2007 {
		t.Errorf("payload %q of %d", got.Payload, got.PayloadSize)
	}
	if text := fmt.Sprintf("%+v", found.Decisions[0]); strings.Contains(text, "hunter2") {
		t.Errorf("a password is in it: %s", text)
	}
	tr.Configure(trail.Options{})
	if got := search(t, tr, trail.Query{}).Decisions[1]; len(got.Payload) != 0 || got.PayloadSize != 0 {
		t.Errorf("a payload is still shown: %+v", got)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{Size: 10})
	a, b := mux.Asked{Provider: "a", Verdict: mux.VerdictAllow}, mux.Asked{Provider: "b", Reason: mux.ReasonDown, Policy: mux.Ignore}
	tell(tr, decided(login(t, "one"), mux.VerdictAllow, a))
	tell(tr, decided(login(t, "two"), mux.VerdictDeny, a))
	tell(tr, decided(authorize(t, "three", "s/1/temp"), mux.VerdictAllow, a, b))
	tell(tr, decided(authorize(t, "four", "$SYS/x"), mux.VerdictIgnore, a))
	tell(tr, decided(publish(t, "five", "s/2", ""), mux.VerdictDrop, b))
	for _, c := range []struct {
		q    trail.Query
		want string
	}{
		{trail.Query{}, "five four three two one"},
		{trail.Query{Limit: 2}, "five four"},
		{trail.Query{Before: 3}, "two one"},
		{trail.Query{Client: "three"}, "three"},
		{trail.Query{Client: "thre"}, ""},
		{trail.Query{Hook: "client.authorize"}, "four three"},
		{trail.Query{Provider: "b"}, "five three"},
		{trail.Query{Provider: "a", Hook: "client.authenticate", Limit: 1}, "two"},
		{trail.Query{Topic: "s/#"}, "five three"},
		{trail.Query{Topic: "s/+/temp"}, "three"},
		{trail.Query{Topic: "s/2"}, "five"},
		{trail.Query{Topic: "#"}, "five three two one"}, // a login has no topic, which # matches; not $SYS
		{trail.Query{Topic: "$SYS/x"}, "four"},
		{trail.Query{Answer: "allow"}, "three one"},
		{trail.Query{Answer: "ignore"}, "four"},
		{trail.Query{Answer: "refused"}, "five two"},
		{trail.Query{Answer: "unanswered"}, "five three"},
	} {
		found := search(t, tr, c.q)
		if got := strings.Join(clients(found), " "); got != c.want {
			t.Errorf("%+v: found %q, want %q", c.q, got, c.want)
		}
		if found.Kept != 5 || found.Limit != 30 {
			t.Errorf("kept %d of %d", found.Kept, found.Limit)
		}
	}
	for _, q := range []trail.Query{{Answer: "no"}, {Hook: "client.auth"}, {Hook: "client.check_acl"}, {Topic: "a/#/b"}, {Limit: 1001}, {Limit: -1}} {
		if q.Check() == nil {
			t.Errorf("%+v was taken", q)
		}
	}
}

// A flood of one kind leaves the others alone, and all of it is bounded.
func TestAFloodPushesNoRefusalOut(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{Size: 3, Sample: 4})
	for i := range 5 {
		tell(tr, decided(login(t, fmt.Sprint("refused", i)), mux.VerdictDeny))
	}
	tell(tr, decided(login(t, "unanswered"), mux.VerdictAllow, mux.Asked{Reason: mux.ReasonDown}))
	for i := range 100 {
		tell(tr, decided(login(t, fmt.Sprint("passed", i)), mux.VerdictAllow))
	}
	want := []string{"passed96", "passed92", "passed88", "unanswered", "refused4", "refused3", "refused2"}
	if got := clients(search(t, tr, trail.Query{})); !slices.Equal(got, want) {
		t.Errorf("found %q", got)
	}
	// Other options: what was kept stays while the size does.
	tr.Configure(trail.Options{Size: 3})
	tell(tr, decided(login(t, "next"), mux.VerdictAllow))
	if got := clients(search(t, tr, trail.Query{Limit: 2})); !slices.Equal(got, []string{"next", "passed96"}) {
		t.Errorf("found %q", got)
	}
	tr.Configure(trail.Options{Size: -1})
	tell(tr, decided(login(t, "nowhere"), mux.VerdictDeny))
	if found := search(t, tr, trail.Query{}); len(found.Decisions) != 0 || found.Kept != 0 || found.Limit != 0 {
		t.Errorf("%+v", found)
	}
}

// Texts of any length cost little, are valid when they come out, and are found.
func TestLongAndStrangeTexts(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{Size: 2})
	long := strings.Repeat("ü", 32<<10)
	ev := authorize(t, long, long)
	d := decided(ev, mux.VerdictDeny, mux.Asked{Provider: "p", Reason: mux.ReasonError, Err: errors.New(long)})
	for range 10 {
		tell(tr, d)
	}
	got := search(t, tr, trail.Query{Client: long}).Decisions
	if len(got) != 2 {
		t.Fatalf("found %d", len(got))
	}
	for _, s := range []string{got[0].Client, got[0].Username, got[0].Topic, got[0].Asked[0].Error} {
		if len(s) > 512 || !strings.HasSuffix(s, "ü…") {
			t.Errorf("%d bytes: %q", len(s), s)
		}
	}
	body, _ := proto.MarshalOptions{}.Marshal(&exhookv3.ClientAuthenticateRequest{Clientinfo: client("cc")})
	broken := mux.NewEvent(mux.ClientAuthenticate, []byte(strings.ReplaceAll(string(body), "cc", "\xffc")))
	tell(tr, decided(&broken, mux.VerdictDeny))
	if c := search(t, tr, trail.Query{Limit: 1}).Decisions[0].Client; c != "\uFFFDc" {
		t.Errorf("client %q", c)
	}
}

// Once its place has been used, keeping a decision takes no memory.
func TestKeepingADecisionAllocatesNothing(t *testing.T) {
	tr := trail.New(trail.Options{Size: 2})
	for range 2 {
		tell(tr, decidedBefore)
	}
	if n := testing.AllocsPerRun(100, func() { tell(tr, decidedBefore) }); n > 0 {
		t.Errorf("%v allocations for a decision", n)
	}
}

var decidedBefore = func() *mux.Decision {
	body, _ := proto.Marshal(&exhookv3.ClientAuthenticateRequest{Clientinfo: client("c")})
	ev := mux.NewEvent(mux.ClientAuthenticate, body)
	return decided(&ev, mux.VerdictDeny, mux.Asked{Provider: "a", Verdict: mux.VerdictAllow}, mux.Asked{Provider: "b", Verdict: mux.VerdictDeny})
}()

// Many write while some search; what they find is never torn.
func TestSearchWhileManyDecide(t *testing.T) {
	t.Parallel()
	tr := trail.New(trail.Options{Size: 4})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 2000 {
				id := fmt.Sprintf("%d-%d", w, i)
				tell(tr, decided(login(t, id), mux.VerdictDeny, mux.Asked{Provider: id}))
			}
		})
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			last := ^uint64(0)
			for _, d := range tr.Search(trail.Query{}).Decisions {
				if d.Username != "u-"+d.Client || d.Asked[0].Provider != d.Client || d.ID >= last {
					t.Errorf("torn, or out of order: %+v", d)
					return
				}
				last = d.ID
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	all.Wait()
	close(stop)
	reader.Wait()
	if n := len(tr.Search(trail.Query{}).Decisions); n != 4 {
		t.Errorf("%d are left", n)
	}
}

func BenchmarkDecided(b *testing.B) {
	for _, c := range []struct {
		name   string
		opts   trail.Options
		follow *trail.Filter
		d      *mux.Decision
	}{
		{"off", trail.Options{Size: -1}, nil, decidedBefore},
		{"kept", trail.Options{}, nil, decidedBefore},
		{"sampled", trail.Options{Sample: 100}, nil, decided(publish(b, "c", "t", "payload"), mux.VerdictPass)},
		{"followed by somebody else's follower", trail.Options{}, &trail.Filter{Client: "other"}, decidedBefore},
		{"followed too slowly", trail.Options{}, &trail.Filter{}, decidedBefore},
	} {
		b.Run(c.name, func(b *testing.B) {
			tr := trail.New(c.opts)
			if c.follow != nil {
				f, err := tr.Follow(*c.follow)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
			}
			b.ReportAllocs()
			for b.Loop() {
				tell(tr, c.d)
			}
		})
	}
}

func BenchmarkNotified(b *testing.B) {
	tr := trail.New(trail.Options{})
	n := &mux.Notification{Event: login(b, "c"), Provider: "p"}
	for b.Loop() {
		tr.Notified(n)
	}
}

func connected(id string) *exhookv3.ClientConnectedRequest {
	return &exhookv3.ClientConnectedRequest{Clientinfo: client(id)}
}
