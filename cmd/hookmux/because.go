package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/trail"
)

// headline is what became of whom, and when.
func (w *witness) headline(d *trail.Decision) string {
	who := "Client " + named(d.Client)
	if d.Username != "" && d.Username != d.Client {
		who += " (user " + named(d.Username) + ")"
	}
	node := ""
	if d.Node != "" {
		node = ", asked by " + named(d.Node)
	}
	return fmt.Sprintf("%s %s: %s, %s%s.", who, became(d), d.Time.Local().Format(time.DateTime), ago(d.Time, w.now), node)
}

// became is what the answer did to the client.
func became(d *trail.Decision) string {
	topic := named(d.Topic)
	switch d.Hook {
	case "client.authenticate":
		return map[string]string{"deny": "was not let in", "allow": "was let in"}[d.Answer] + orEMQX(d, "its login")
	case "client.authorize":
		return map[string]string{"deny": "was not allowed to " + d.Action + " to " + topic, "allow": "was allowed to " + d.Action + " to " + topic}[d.Answer] +
			orEMQX(d, "its wish to "+d.Action+" to "+topic)
	}
	switch d.Answer {
	case "drop":
		return "sent a message to " + topic + ", which was not published (the client was told that it was)"
	case "rewrite":
		if d.NewTopic != "" {
			return "sent a message to " + topic + ", which was changed, and went to " + named(d.NewTopic)
		}
		return "sent a message to " + topic + ", which was changed"
	}
	return "sent a message to " + topic + ", which passed as it was"
}

// orEMQX is what becomes of something about which nobody has an opinion.
func orEMQX(d *trail.Decision, what string) string {
	if d.Answer == "ignore" {
		return "got no opinion on " + what + ", so EMQX decided"
	}
	return ""
}

const didNotAnswer = ", which did not answer"

// because is who decided, and what the others had to do with it.
func (w *witness) because(d *trail.Decision) (out []string) {
	by, missing := strings.CutSuffix(d.By, didNotAnswer)
	verdict := map[string]string{"drop": "drop the message", "pass": "pass the message on", "rewrite": "change the message"}
	switch {
	case d.Answer == "ignore" && d.Hook == "client.authenticate":
		out = append(out, "Nobody had an opinion, and the config has no default for client.authenticate. EMQX 5.8 and older\nrefuse such a login if they have no authenticator of their own, 5.10 lets it in.")
	case d.Answer == "ignore":
		out = append(out, "Nobody had an opinion, and the config has no default for "+d.Hook+".")
	case by == "default":
		out = append(out, fmt.Sprintf("Nobody had an opinion, and default in the config says %s for %s.", d.Answer, d.Hook))
	case by == "hookmux":
		out = append(out, "hookmux could not ask anybody: the request of EMQX was not valid or larger than limits.message, or no\nprovider had had a chance to start.")
	case by == "":
		out = append(out, "Nobody objected.")
	case !missing:
		text := fmt.Sprintf("%s said: %s.", by, cmp.Or(verdict[d.Answer], d.Answer))
		switch {
		case d.Strategy == "all" && d.Answer == "deny":
			text += " With strategy all, one denial is enough."
		case d.Strategy == "any" && d.Answer == "deny":
			text += " With strategy any, nobody else allowed it."
		}
		out = append(out, text)
	}
	for i := range d.Asked {
		a := &d.Asked[i]
		if a.Reason == "" {
			continue
		}
		text := fmt.Sprintf("%s did not answer (%s), and its on_failure for %s says %s", a.Provider, reason(a.Reason, a.Error), d.Hook, a.Policy)
		switch {
		case missing && a.Provider == by:
			text += "."
		case a.Policy == "ignore":
			text += ", so it was passed over."
		default:
			text += ", but it did not have the last word."
		}
		out = append(out, text)
		if now := w.stateOf(a, d); now != "" {
			out = append(out, now)
		}
	}
	return out
}

// reason is why there was no answer: the word, and what it does not say.
func reason(word, text string) string {
	if word == "down" {
		text = strings.TrimPrefix(strings.TrimPrefix(text, "the provider is down"), ": ")
	}
	if text == "" {
		return word
	}
	return word + ": " + oneLine(text)
}

// provider is what is known now of the provider; nil if it is no longer there.
func (w *witness) provider(name string) *admin.Provider {
	i := slices.IndexFunc(w.status.Providers, func(p admin.Provider) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &w.status.Providers[i]
}

// stateOf is what has become of a provider that did not answer.
func (w *witness) stateOf(a *trail.Asked, d *trail.Decision) string {
	p := w.provider(a.Provider)
	switch {
	case p == nil:
		return a.Provider + " is no longer in the config."
	case p.Status != "up":
		return p.Name + " " + troubles(p)[0]
	case a.Reason != "down":
		return ""
	case p.Since.After(d.Time):
		text := fmt.Sprintf("%s is up again, for %s.", p.Name, short(w.now.Sub(p.Since)))
		if p.LastError != "" {
			text += " Before, " + clean(p.LastError)
		}
		return text
	case p.LastError != "":
		return fmt.Sprintf("%s is up. It last ended because %s", p.Name, clean(p.LastError))
	}
	return ""
}

// goOn is what the operator can do; empty if there is nothing to be done.
func (w *witness) goOn(d *trail.Decision) string {
	by, missing := strings.CutSuffix(d.By, didNotAnswer)
	if !missing {
		return goOnAfter(d, by)
	}
	i := slices.IndexFunc(d.Asked, func(a trail.Asked) bool { return a.Provider == by && a.Reason != "" })
	p := w.provider(by)
	if i < 0 || p == nil {
		return ""
	}
	switch d.Asked[i].Reason {
	case "down":
		return goOnDown(p)
	case "timeout":
		return fmt.Sprintf("see in hookmux's log (provider=%s) what it waits for. One answer may take %s: key timeout of the provider,\nand of the config for all together.", by, short(time.Duration(p.TimeoutMs)*time.Millisecond))
	case "breaker_open":
		return fmt.Sprintf("it failed several times in a row, and is left alone for a moment. Why it failed: hookmux explain --provider %s --last 10", by)
	case "overload":
		return fmt.Sprintf("%s is asked more than it answers: make it quicker, or raise its key concurrency.", by)
	case "error":
		return fmt.Sprintf("its own lines in hookmux's log (provider=%s) may say more about the error.", by)
	case "invalid":
		return fmt.Sprintf("this is a mistake in %s: hookmux verify -- COMMAND checks what a plugin must do.", by)
	case "canceled":
		return "EMQX did not wait for the answer: its request_timeout is to be more than hookmux's timeout."
	}
	return ""
}

func goOnAfter(d *trail.Decision, by string) string {
	switch {
	case d.Answer == "ignore" && d.Hook == "client.authenticate":
		return "say in the config what you want: default: {client.authenticate: deny}, or allow."
	case d.Answer != "deny" && d.Answer != "drop":
		return ""
	case by == "default" || by == "":
		return "a provider must have an opinion, or default must be another: hookmux check --explain shows who is asked."
	case by == "hookmux":
		return "hookmux's log says more."
	}
	return fmt.Sprintf("that is what %s is there for; its config, and its lines in hookmux's log (provider=%s), say more.", by, by)
}

func goOnDown(p *admin.Provider) string {
	switch {
	case !p.Enabled:
		return "hookmux enable " + p.Name
	case p.Status == "up":
		return "nothing, if it stays up; the client may try again."
	case p.Kind == "remote":
		return "start the server that " + p.Name + " stands for; hookmux tries again and again to reach it."
	}
	return fmt.Sprintf("mend what %s ended for. It is started again by itself, or at once with: hookmux restart %s", p.Name, p.Name)
}
