package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// However a config is printed, and whatever of it, no secret is shown.
func TestPrintedConfigShowsNoSecret(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-0123456789abcdef"
	src := testSources()
	src.Env = func(string) (string, bool) { return secret, true }
	cfg, err := Parse("x.yaml", []byte(`
admin: {listen: "127.0.0.1:9080", token: "${env:A}"}
providers:
  - name: a
    command: [./a, "${env:A}"]
    config: {x: ["${env:A}"]}
    env: {X: "${env:A}"}
    when: client.id != "${env:A}"
`), src)
	if err != nil {
		t.Fatal(err)
	}
	if string(cfg.Admin.Token) != secret || cfg.Providers[0].Env["X"] != secret {
		t.Fatal("it is not there")
	}
	p := cfg.Providers[0]
	for _, v := range []any{cfg, *cfg, cfg.Providers, &p, p, cfg.Admin, p.Spec, map[string]any{"config": cfg}} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, _ := json.Marshal(v)
		out.Write(b)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("config", "it", v)
		}
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprintf("%v", []byte(secret)), "[]")} {
			if i := strings.Index(out.String(), form); i >= 0 {
				t.Errorf("%T shows it: …%s", v, out.String()[max(0, i-200):i+len(form)])
			}
		}
	}
}
