package mux

import (
	"strings"
	"testing"
	"testing/synctest"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// What an observer must hear of is stored as it was decided before the broker hears it.
// When it cannot be stored, the observer's policy decides.
func TestDurableObserver(t *testing.T) {
	t.Parallel()
	ignore := [NumHooks]Policies{MessagePublish: Always(Ignore), ClientAuthorize: Always(Ignore)}
	fullOnly := [NumHooks]Policies{MessagePublish: {ReasonOverload: Ignore}}
	for _, tt := range []struct {
		name      string
		fail      error
		hang      bool
		onFailure [NumHooks]Policies
		drops     bool // an earlier provider drops the message
		refused   bool
		lost      Reason
		by        string
	}{
		{name: "stored"},
		{name: "dropped and stored", drops: true, refused: true, by: "first"},
		{name: "fails", fail: errBoom, refused: true, lost: ReasonStoreFailed, by: "audit, for which it could not be stored"},
		{name: "is full", fail: ErrStoreFull, refused: true, lost: ReasonStoreFull, by: "audit, for which it could not be stored"},
		{name: "hangs", hang: true, refused: true, lost: ReasonStoreFailed, by: "audit, for which it could not be stored"},
		{name: "fails, ignored", fail: errBoom, onFailure: ignore, lost: ReasonStoreFailed},
		{name: "is full, ignored", fail: ErrStoreFull, onFailure: fullOnly, lost: ReasonStoreFull},
		{name: "fails, ignored when full", fail: errBoom, onFailure: fullOnly, refused: true, lost: ReasonStoreFailed, by: "audit, for which it could not be stored"},
		{name: "dropped, fails", fail: errBoom, drops: true, refused: true, lost: ReasonStoreFailed, by: "first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var s memSpool
				s.store("audit").set(tt.fail, tt.hang)
				msg := &exhookv3.Message{From: "c", Topic: "a", Payload: []byte("x"), Qos: 1}
				first := &fake{}
				if tt.drops {
					first = says(messageResponse(typeStop, refuse(marshal(t, msg))))
				}
				conn := &fake{}
				var seen []Decision
				p := newProvider(t, Spec{Name: "first"}, first, wants(MessagePublish)...)
				audit := newProvider(t, Spec{Name: "audit", Observe: true, Delivery: By(Durable), OnFailure: tt.onFailure}, nil)
				m := newMux(Options{Spool: &s, Recorder: &recorder{decided: func(d *Decision) { seen = append(seen, *d) }}}, p, audit)
				up(t, audit, conn, wants(MessagePublish)...)
				resp := m.Dispatch(t.Context(), NewEvent(MessagePublish, marshal(t, &exhookv3.MessagePublishRequest{Message: msg})))
				a, err := parseAnswer(MessagePublish, resp)
				if err != nil {
					t.Fatal(err)
				}
				if tt.lost != ReasonNone {
					expectStats(t, audit, 1, 0, map[Reason]int64{tt.lost: 1})
				}
				refused := a.typ != typeIgnore && strings.Contains(string(a.msg), "allow_publish")
				if refused != tt.refused {
					t.Errorf("refused %t, want %t", refused, tt.refused)
				}
				synctest.Wait()
				if n := len(conn.calls()); (n == 1) != (tt.lost == ReasonNone) {
					t.Errorf("the observer was told %d times", n)
				}
				if len(seen) != 1 || seen[0].By != tt.by {
					t.Fatalf("decided %v", seen)
				}
				if last := seen[0].Asked[len(seen[0].Asked)-1]; tt.lost != ReasonNone && (last.Provider != "audit" || last.Reason != tt.lost || last.Err == nil) {
					t.Errorf("recorded %+v", last)
				}
			})
		})
	}
}
