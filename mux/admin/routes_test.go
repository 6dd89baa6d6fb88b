package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/hookmux/hookmux/mux"
)

// The description has every route, and no other.
func TestTheDescriptionHasEveryRoute(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	var described []string
	for path, methods := range doc.Paths {
		for method := range methods {
			if method != "parameters" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	routes := []string{"GET /"} // the page
	for _, r := range newHandler(nothing{}, Options{Metrics: http.NotFoundHandler()}, nil).routes {
		if below, ok := strings.CutPrefix(r, "GET /debug/pprof/"); !ok || below == "" {
			routes = append(routes, r)
		}
	}
	slices.Sort(described)
	slices.Sort(routes)
	if !slices.Equal(described, routes) {
		t.Errorf("described %q\nserved    %q", described, routes)
	}
}

// The words of the description are the engine's.
func TestTheDescriptionHasEveryWord(t *testing.T) {
	t.Parallel()
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum     []string
					Required []string
					Items    struct{ Enum []string }
				}
			}
		}
	}
	if err := yaml.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	of := func(schema string) map[string]struct {
		Enum     []string
		Required []string
		Items    struct{ Enum []string }
	} {
		return doc.Components.Schemas[schema].Properties
	}
	var verdicts, reasons, causes, decisions []string
	for v := mux.VerdictNone; v <= mux.VerdictDrop; v++ {
		verdicts = append(verdicts, v.String())
	}
	for r := range mux.NumReasons {
		if reason := mux.Reason(r); reason != mux.ReasonNone {
			reasons = append(reasons, reason.String())
		} else {
			reasons = append(reasons, "delivered")
		}
	}
	for _, c := range mux.Causes() {
		causes = append(causes, c.String())
	}
	for _, h := range mux.Hooks() {
		if h.Valued() {
			decisions = append(decisions, h.String())
		}
	}
	slices.Sort(decisions)
	for _, c := range []struct {
		what      string
		got, want []string
	}{
		{"Asked.verdict", of("Asked")["verdict"].Enum, verdicts},
		{"Asked.reason", of("Asked")["reason"].Enum, append(slices.Clone(causes), "canceled", "store_failed", "store_full")},
		{"Asked.changed", of("Asked")["changed"].Items.Enum, mux.ChangeNames()},
		{"Decision.answer", of("Decision")["answer"].Enum, verdicts[1:]},
		{"Decision.strategy", of("Decision")["strategy"].Enum, mux.StrategyNames()},
		{"Decision.hook", slices.Sorted(slices.Values(of("Decision")["hook"].Enum)), decisions},
		{"Notification.outcome", of("Notification")["outcome"].Enum, reasons},
		{"HookProvider.policy", of("HookProvider")["policy"].Required, causes},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: described %q, the engine has %q", c.what, c.got, c.want)
		}
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	h := newHandler(nothing{}, Options{}, nil)
	for query, want := range map[string]string{
		"/v1/decisions?clinet=a":         `there is no parameter \"clinet\": use client, hook, provider, topic, answer, limit, before`,
		"/v1/decisions?limit=0":          `limit: \"0\" is not a number from 1 to 1000`,
		"/v1/decisions?limit=1001":       `limit: 1001 is not between 1 and 1000`,
		"/v1/decisions?before=x":         `before: \"x\" is not the id of a decision`,
		"/v1/decisions?answer=no":        `answer: \"no\" is none: use ignore, allow`,
		"/v1/decisions?hook=OnPublish":   `hook: \"OnPublish\" is none`,
		"/v1/decisions?topic=a/%23/b":    `# must be the last level`,
		"/v1/decisions?client=%zz":       `the query cannot be read`,
		"/v1/tail?limit=1":               `there is no parameter \"limit\": use client, hook, provider, topic`,
		"/v1/tail?hook=client.check_acl": `hook: \"client.check_acl\" is none`,
	} {
		if w := ask(h, "GET", query, nil); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}
