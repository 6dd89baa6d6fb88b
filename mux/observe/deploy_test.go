package observe_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	"go.yaml.in/yaml/v3"
)

// series are the labels of each metric that there is.
func series(t *testing.T) map[string]map[string]bool {
	t.Helper()
	families, err := everything(t).Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string]bool)
	for _, f := range families {
		labels := map[string]bool{"instance": true} // by Prometheus
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
			if m.GetHistogram() != nil {
				labels["le"] = true
				for _, part := range []string{"_bucket", "_count", "_sum"} {
					all[f.GetName()+part] = labels
				}
			}
		}
		all[f.GetName()] = labels
	}
	return all
}

// checkQuery fails for what is no PromQL, and for metrics and labels that do not exist.
func checkQuery(t *testing.T, where, query string, metrics map[string]map[string]bool) {
	t.Helper()
	query = strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*", "$provider", ".*").Replace(query)
	expr, err := metricsql.Parse(query)
	if err != nil {
		t.Errorf("%s: %s: %v", where, query, err)
		return
	}
	labels := make(map[string]bool) // of all metrics in the query
	metricsql.VisitAll(expr, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, filters := range m.LabelFilterss {
			name := filters[0].Value
			has, ok := metrics[name]
			if !ok {
				t.Errorf("%s: there is no metric %s", where, name)
				return
			}
			for l := range has {
				labels[l] = true
			}
			for _, f := range filters[1:] {
				if !has[f.Label] {
					t.Errorf("%s: %s has no label %s", where, name, f.Label)
				}
			}
		}
	})
	metricsql.VisitAll(expr, func(e metricsql.Expr) {
		if a, ok := e.(*metricsql.AggrFuncExpr); ok {
			for _, by := range a.Modifier.Args {
				if !labels[by] {
					t.Errorf("%s: grouped by %s, which none of its metrics has", where, by)
				}
			}
		}
	})
}

func TestAlertsFitTheMetrics(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	metrics := series(t)
	label := regexp.MustCompile(`\$labels\.(\w+)`)
	n := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			n++
			checkQuery(t, r.Alert, r.Expr, metrics)
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s: who is woken by it is not told what it is, how bad, or what to do", r.Alert)
			}
			// What the text names, the expression must leave in its result.
			for _, m := range label.FindAllStringSubmatch(r.Annotations["summary"]+r.Annotations["description"], -1) {
				if by := regexp.MustCompile(`by \(([^)]*)\)`).FindStringSubmatch(r.Expr); by != nil && !strings.Contains(by[1], m[1]) {
					t.Errorf("%s: %s is not among its labels", r.Alert, m[1])
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("%d rules", n)
	}
}

func TestDashboardFitsTheMetrics(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../deploy/grafana/hookmux.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID string
		Panels     []struct {
			ID          int
			Title, Type string
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	metrics := series(t)
	shown := make(map[string]bool)
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beside the page", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			checkQuery(t, p.Title, q.Expr, metrics)
			for name := range metrics {
				if strings.Contains(q.Expr, name) {
					shown[name] = true
				}
			}
		}
	}
	for name := range metrics {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "hookmux_") && !shown[name] && !shown[base] && !shown[base+"_bucket"] {
			t.Errorf("no panel shows %s", name)
		}
	}
}
