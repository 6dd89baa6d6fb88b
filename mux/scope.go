package mux

import "fmt"

// Condition narrows what a provider is asked, event by event. Package condition
// makes one from a CEL expression.
type Condition interface {
	// Matches says whether the provider is to be asked about the event. An error
	// says that nobody knows. It is called from many goroutines, for every event, and
	// keeps nothing of e.
	Matches(e *Event) (bool, error)
}

// matches says whether the provider, which has a condition, is to be asked about ev.
func (p *Provider) matches(ev *Event) (bool, error) {
	ok, err := p.spec.When.Matches(ev)
	if err != nil {
		err = fmt.Errorf("its condition (when): %w", err)
	}
	return ok, err
}

// inScope says whether the provider is to be told of ev. When its condition cannot
// tell, it is not, which counts as a loss: what it may not see must not reach it.
func (p *Provider) inScope(ev *Event) bool {
	if p.spec.When == nil {
		return true
	}
	ok, err := p.matches(ev)
	if err != nil {
		p.stats.Sent.Add(1)
		p.lane.drop(ev, ReasonError, err)
		return false
	}
	return ok
}
