package mux

import "context"

// show tells the observers what was decided: they get the request with the value
// in it, by the way that notifications take. Filters are held against the topic
// that the message has in the end.
func (v *value) show(observers []route) {
	if len(observers) == 0 {
		return
	}
	ev := *v.ev
	ev.Body, ev.msg, ev.topic = v.request(), v.msg, v.topic
	seen := views{ev: &ev}
	for i := range observers {
		if r := &observers[i]; (!ev.Hook.HasTopics() || r.takes(ev.topic)) && r.p.inScope(&ev) {
			r.p.lane.push(noWait, seen.shownTo(r))
		}
	}
}

// noWait has ended: for an observer no broker waits, whatever its lane's overflow
// policy.
var noWait = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
