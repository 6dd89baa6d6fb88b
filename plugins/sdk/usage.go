package sdk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func (h *handler) hookNames() []string {
	names := make([]string, 0, len(h.hooks))
	for _, r := range h.hooks {
		names = append(names, string(r.name))
	}
	return names
}

// usage is what a plugin says that was started by hand.
func usage(h *handler) string {
	var b strings.Builder
	program := filepath.Base(os.Args[0])
	path := os.Args[0]
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	fmt.Fprintf(&b, "%s is a plugin of hookmux, a sidecar for the MQTT broker EMQX.\nIt answers:\n", program)
	for _, r := range h.hooks {
		fmt.Fprintf(&b, "  %s", r.name)
		if filters := h.topics[r.name]; len(filters) > 0 {
			fmt.Fprintf(&b, "  (topics %s)", strings.Join(filters, ", "))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, `
hookmux starts it, by these lines in hookmux.yaml:

providers:
  - name: %s
    command: [%q]
    config: {}

To serve one EMQX without hookmux:

  %s --standalone 127.0.0.1:9000 [--config FILE.json]

and give EMQX the ExHook URL http://127.0.0.1:9000. FILE.json holds what would
stand under config; so can the environment variable HOOKMUX_CONFIG.
`, providerName(program), path, program)
	return b.String()
}

// providerName makes a program's name one that hookmux.yaml allows.
func providerName(program string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(program))
}
