package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	josejson "github.com/go-jose/go-jose/v4/json"

	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
)

// acl is what a token lets its client do: the first entry that fits decides, and what none
// fits is denied.
type acl struct{ entries []aclEntry }

type aclEntry struct {
	allow              bool
	publish, subscribe bool
	filter             topicfilter.Filter
}

func (a *acl) allows(q *topicfilter.Question) bool {
	if a == nil {
		return false
	}
	for i := range a.entries {
		e := &a.entries[i]
		if (q.Subscribe && e.subscribe || !q.Subscribe && e.publish) && e.filter.Fits(q, e.allow) {
			return e.allow
		}
	}
	return false
}

// parseACL reads EMQX's two forms of the claim,
//
//	{"pub": ["a/b"], "sub": ["a/#"], "all": ["c/${clientid}"]}
//	[{"permission": "allow", "action": "publish", "topic": "a/b"}, …]
//
// It is strict: an entry that is not understood might have been a denial. A name that is
// given twice, or in other letters, is not understood.
func parseACL(claim json.RawMessage) (*acl, error) {
	claim = bytes.TrimSpace(claim)
	switch {
	case len(claim) == 0:
		return nil, nil
	case claim[0] == '{':
		return parseLists(claim)
	case claim[0] == '[':
		return parseEntries(claim)
	}
	return nil, errors.New("neither a list nor an object")
}

// only holds that an object has no names but these.
func only[V any](object map[string]V, names ...string) error {
	for name := range object {
		if !slices.Contains(names, name) {
			return fmt.Errorf("the name %.30q", name)
		}
	}
	return nil
}

func parseLists(claim json.RawMessage) (*acl, error) {
	var lists map[string][]string
	if err := josejson.Unmarshal(claim, &lists); err != nil { // which refuses names given twice
		return nil, err
	}
	if err := only(lists, "pub", "sub", "all"); err != nil {
		return nil, err
	}
	a := new(acl)
	for _, l := range []struct {
		action string
		topics []string
	}{{"publish", lists["pub"]}, {"subscribe", lists["sub"]}, {"all", lists["all"]}} {
		for _, topic := range l.topics {
			if err := a.add("allow", l.action, topic); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

func parseEntries(claim json.RawMessage) (*acl, error) {
	var names []map[string]any
	var entries []struct {
		Permission string   `json:"permission"`
		Action     string   `json:"action"`
		Topic      string   `json:"topic"`
		Topics     []string `json:"topics"`
	}
	if err := errors.Join(josejson.Unmarshal(claim, &names), josejson.Unmarshal(claim, &entries)); err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := only(n, "permission", "action", "topic", "topics", "qos", "retain"); err != nil {
			return nil, err
		}
	}
	a := new(acl)
	for i, e := range entries {
		topics := e.Topics
		if e.Topic != "" {
			topics = append(topics, e.Topic)
		}
		if len(topics) == 0 {
			return nil, errors.New("an entry without a topic")
		}
		// EMQX does not tell an ExHook server the QoS and whether a message is to be retained.
		// So what is allowed for some only is not allowed, and what is denied for some is denied.
		_, qos := names[i]["qos"]
		_, retain := names[i]["retain"]
		if e.Permission == "allow" && (qos || retain) {
			continue
		}
		action := e.Action
		if action == "" {
			action = "all"
		}
		for _, topic := range topics {
			if err := a.add(e.Permission, action, topic); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

func (a *acl) add(permission, action, topic string) error {
	text, exactly := strings.CutPrefix(topic, "eq ")
	f, err := topicfilter.New(text, exactly)
	if err != nil {
		return err
	}
	e := aclEntry{filter: f}
	switch permission {
	case "allow":
		e.allow = true
	case "deny":
	default:
		return fmt.Errorf("permission %q", permission)
	}
	switch action {
	case "publish":
		e.publish = true
	case "subscribe":
		e.subscribe = true
	case "all":
		e.publish, e.subscribe = true, true
	default:
		return fmt.Errorf("action %q", action)
	}
	a.entries = append(a.entries, e)
	return nil
}
