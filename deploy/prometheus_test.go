package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// fired is an alert that Prometheus is to raise.
type fired struct {
	labels  map[string]string // without severity
	summary string
}

// of is labels in short: of("provider", "a").
func of(pairs ...string) map[string]string {
	labels := map[string]string{"instance": "a"}
	for i := 0; i < len(pairs); i += 2 {
		labels[pairs[i]] = pairs[i+1]
	}
	return labels
}

// Each alert is raised by what it is for, says it in words, and leaves alone what is well.
// Prometheus' own promtool evaluates the rules.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool", "apt-get install prometheus")
	output(t, promtool, "check", "rules", "prometheus/alerts.yaml")
	var rules alertRules
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/alerts.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	// An instance b, with which all is well.
	well := map[string]string{
		`hookmux_build_info{instance="b",version="1"}`:                                                                            "1x60",
		`hookmux_broker_registered_timestamp_seconds{instance="b",node="emqx@b"}`:                                                 "100x60",
		`hookmux_broker_missing_hooks{instance="b",node="emqx@b"}`:                                                                "0x60",
		`hookmux_provider_state{instance="b",provider="login",state="up"}`:                                                        "1x60",
		`hookmux_provider_state{instance="b",provider="login",state="quarantined"}`:                                               "0x60",
		`hookmux_provider_state{instance="b",provider="login",state="restarting"}`:                                                "0x60",
		`hookmux_provider_state{instance="b",provider="off",state="disabled"}`:                                                    "1x60", // as somebody wanted it
		`hookmux_provider_restarts_total{instance="b",provider="login",cause="crashed"}`:                                          "0x10 1x50",
		`hookmux_provider_restarts_total{instance="b",provider="login",cause="config_changed"}`:                                   "0+1x60",
		`hookmux_breaker_state{instance="b",provider="login",breaker="client.authenticate",state="open"}`:                         "0x60",
		`hookmux_breaker_state{instance="b",provider="login",breaker="client.authenticate",state="half-open"}`:                    "0x60",
		`hookmux_lane_dropped_total{instance="b",provider="login",reason="lane_full"}`:                                            "500x60", // long ago
		`hookmux_lane_dropped_total{instance="b",provider="login",reason="shutdown"}`:                                             "0+100x60",
		`hookmux_spool_dead_letters{instance="b",provider="login"}`:                                                               "0x60",
		`hookmux_spool_oldest_timestamp_seconds{instance="b",provider="login"}`:                                                   "0+60x60",
		`hookmux_lane_events{instance="b",provider="login"}`:                                                                      "4000x60",
		`hookmux_reloads_total{instance="b",outcome="failed"}`:                                                                    "1x60", // long ago
		`hookmux_reloads_total{instance="b",outcome="done"}`:                                                                      "0+1x60",
		`hookmux_event_duration_seconds_bucket{instance="b",hook="message.publish",le="0.5"}`:                                     "0+600x60",
		`hookmux_event_duration_seconds_bucket{instance="b",hook="message.publish",le="+Inf"}`:                                    "0+600x60",
		`hookmux_policy_decisions_total{instance="b",provider="login",hook="client.authenticate",reason="timeout",policy="deny"}`: "0x10 3x50",
	}
	tested := make(map[string]bool)
	var file bytes.Buffer
	abs, err := filepath.Abs("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&file, "rule_files: [%q]\nevaluation_interval: 30s\ntests:\n", abs)
	add := func(series map[string]string, at string, want map[string]fired) {
		fmt.Fprint(&file, "  - interval: 1m\n    input_series:\n")
		for s, values := range series {
			fmt.Fprintf(&file, "      - {series: %q, values: %q}\n", s, values)
		}
		fmt.Fprint(&file, "    alert_rule_test:\n")
		for _, g := range rules.Groups {
			for _, r := range g.Rules {
				fmt.Fprintf(&file, "      - eval_time: %s\n        alertname: %s\n", at, r.Alert)
				f, fires := want[r.Alert]
				if !fires {
					continue
				}
				tested[r.Alert] = true
				text := map[string]string{"summary": f.summary, "description": r.Annotations["description"]}
				labels := map[string]string{"severity": r.Labels["severity"]}
				for k, v := range f.labels {
					labels[k] = v
					text["description"] = strings.ReplaceAll(text["description"], "{{ $labels."+k+" }}", v)
				}
				fmt.Fprintf(&file, "        exp_alerts:\n          - exp_labels: %s\n            exp_annotations: %s\n", flow(t, labels), flow(t, text))
			}
		}
	}
	with := func(series, values string) map[string]string {
		all := map[string]string{series: values}
		for s, v := range well {
			all[s] = v
		}
		return all
	}
	add(well, "50m", nil)
	add(map[string]string{}, "5m", map[string]fired{"HookmuxAbsent": {map[string]string{}, "No hookmux is scraped"}})
	add(with(`hookmux_build_info{instance="a",version="1"}`, "1x60"), "20m", map[string]fired{
		"HookmuxNoBroker": {of(), "No EMQX has loaded the hookmux at a"},
	})
	add(with(`hookmux_provider_state{instance="a",provider="rules",state="restarting"}`, "0x10 1x50"), "15m", map[string]fired{
		"HookmuxProviderDown": {of("provider", "rules"), "Provider rules is down"},
	})
	// It is tried once a minute, and is no longer quarantined for a moment then.
	add(with(`hookmux_provider_state{instance="a",provider="rules",state="quarantined"}`, "1 1 0 1 0 1 0"), "6m", map[string]fired{
		"HookmuxProviderQuarantined": {of("provider", "rules"), "Provider rules crashes again and again"},
	})
	add(with(`hookmux_provider_restarts_total{instance="a",provider="rules",cause="hung"}`, "0x10 1 2 3 4 4 4 4"), "16m", map[string]fired{
		"HookmuxProviderRestarts": {of("provider", "rules"), "Provider rules went down 4 times in 15 minutes"},
	})
	add(with(`hookmux_breaker_state{instance="a",provider="rules",breaker="notifications",state="half-open"}`, "1x60"), "5m", map[string]fired{
		"HookmuxBreakerOpen": {of("provider", "rules", "breaker", "notifications"), "The breaker of rules for notifications is open"},
	})
	add(with(`hookmux_policy_decisions_total{instance="a",provider="rules",hook="client.authorize",reason="down",policy="deny"}`, "0+60x60"), "15m", map[string]fired{
		"HookmuxPolicyDecides": {of("provider", "rules", "hook", "client.authorize", "reason", "down", "policy", "deny"),
			"rules gives no answer to client.authorize (down): deny"},
	})
	slow := with(`hookmux_event_duration_seconds_bucket{instance="a",hook="message.publish",le="2.5"}`, "0+0x60")
	slow[`hookmux_event_duration_seconds_bucket{instance="a",hook="message.publish",le="5"}`] = "0+600x60"
	slow[`hookmux_event_duration_seconds_bucket{instance="a",hook="message.publish",le="+Inf"}`] = "0+600x60"
	add(slow, "15m", map[string]fired{
		"HookmuxAnswersSlow": {of("hook", "message.publish"), "1 % of message.publish take longer than 4.975s"},
	})
	// All at once, between two scrapes.
	add(with(`hookmux_lane_dropped_total{instance="a",provider="rules",reason="lane_full"}`, "0x10 500x50"), "12m", map[string]fired{
		"HookmuxNotificationsLost": {of("provider", "rules", "reason", "lane_full"), "rules lost 500 notifications (lane_full)"},
	})
	add(with(`hookmux_lane_events{instance="a",provider="rules"}`, "9000x60"), "15m", map[string]fired{
		"HookmuxLaneFilling": {of("provider", "rules"), "9000 notifications wait for rules"},
	})
	add(with(`hookmux_broker_missing_hooks{instance="a",node="emqx@a"}`, "2x60"), "15m", map[string]fired{
		"HookmuxBrokerNotTold": {of("node", "emqx@a"), "emqx@a does not send 2 hooks that are wanted"},
	})
	add(with(`hookmux_reloads_total{instance="a",outcome="failed"}`, "0x10 1x50"), "15m", map[string]fired{
		"HookmuxReloadFailed": {of("outcome", "failed"), "A reload of hookmux.yaml failed"},
	})
	add(with(`hookmux_spool_oldest_timestamp_seconds{instance="a",provider="rules"}`, "60x60"), "20m", map[string]fired{
		"HookmuxStoredLate": {of("provider", "rules"), "rules has not handled a stored event for 19m 0s"},
	})
	add(with(`hookmux_spool_dead_letters{instance="a",provider="rules"}`, "2x60"), "1m", map[string]fired{
		"HookmuxDeadLetters": {of("provider", "rules"), "2 events are dead letters of rules"},
	})
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if !tested[r.Alert] {
				t.Errorf("nothing raises %s here", r.Alert)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "test.yaml")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, promtool, "test", "rules", path)
}

// flow is a map in one line of YAML.
func flow(t *testing.T, m map[string]string) string {
	t.Helper()
	var parts []string
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%s: %q", k, v))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}
