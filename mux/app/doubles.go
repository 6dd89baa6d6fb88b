package app

import (
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/admin"
)

// ExpectDoubles implements admin.Control.
func (c control) ExpectDoubles(during time.Duration) admin.Doubles {
	d := c.mux.ExpectDoubles(during)
	c.log.Info("events may come twice while brokers load hookmux under another name", "until", d.Until, "recognised", d.Recognised)
	return doublesOf(d)
}

// Doubles implements admin.Control.
func (c control) Doubles() admin.Doubles { return doublesOf(c.mux.Doubles()) }

func doublesOf(d mux.Doubles) admin.Doubles {
	out := admin.Doubles{Nodes: append([]string{}, d.Nodes...), Recognised: d.Recognised}
	if !d.Until.IsZero() {
		out.Until = &d.Until
	}
	return out
}
