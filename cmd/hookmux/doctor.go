package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/emqx"
	"github.com/hookmux/hookmux/mux/secure"
)

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong between EMQX and hookmux, and how to mend it",
		Long: `doctor asks EMQX, by its REST API, how it calls hookmux, and hookmux what it wants, and
says what is wrong: a finding a line, with the command or the setting that mends
it. It changes nothing.

It exits with status 1 if there is a problem; a warning is none. The API key is
made in EMQX's dashboard under System, API Key; the role Viewer is enough.`,
		Example: `  hookmux doctor --emqx http://127.0.0.1:18083 --api-key-file /etc/hookmux/emqx.key
  hookmux doctor --emqx https://emqx.example:18084 --emqx-ca ca.pem --json`,
		Args: onlyConfig,
	}
	f := newEMQXFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := untilSignal()
		defer stop()
		client, err := f.client()
		if err != nil {
			return err
		}
		ours, cfg, _, err := f.ours(ctx, cmd)
		if err != nil {
			return err
		}
		var findings []emqx.Finding
		facts, err := client.Facts(ctx)
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted")
		case err != nil:
			findings = []emqx.Finding{{Severity: emqx.Problem, Code: "emqx-unreachable", What: err.Error()}}
		default:
			findings = emqx.Examine(facts, ours)
		}
		findings = append(certificate(cfg), findings...)
		problems := 0
		for i := range findings {
			findings[i].Fix = strings.ReplaceAll(findings[i].Fix, emqx.RegisterCommand, emqx.RegisterCommand+f.again())
			if findings[i].Severity == emqx.Problem {
				problems++
			}
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			_ = enc.Encode(map[string][]emqx.Finding{"findings": findings})
		} else {
			for _, finding := range findings {
				fmt.Fprintf(out, "%-8s %s", finding.Severity, finding.What)
				if finding.Fix != "" {
					fmt.Fprintf(out, " → %s", finding.Fix)
				}
				fmt.Fprintln(out)
			}
		}
		if problems > 0 {
			return fmt.Errorf("%s between EMQX and hookmux", plural(problems, "problem"))
		}
		return nil
	}
	return cmd
}

// certificate looks at the one that hookmux shows brokers.
func certificate(cfg *config.Config) (findings []emqx.Finding) {
	if cfg.TLS == nil {
		return nil
	}
	source, err := secure.Load(secure.Files{Cert: cfg.TLS.Cert, Key: cfg.TLS.Key, CA: cfg.TLS.ClientCA}, slog.New(slog.DiscardHandler))
	if err != nil {
		return []emqx.Finding{{Severity: emqx.Problem, Code: "tls-files", What: fmt.Sprintf("hookmux's TLS files cannot be used from now on: %v", err), Fix: "put right files in their place: hookmux takes them at the next connection"}}
	}
	switch left := time.Until(source.Expires()); {
	case left <= 0:
		findings = append(findings, emqx.Finding{Severity: emqx.Problem, Code: "tls-expired", What: fmt.Sprintf("hookmux's certificate %s has expired on %s", cfg.TLS.Cert, source.Expires().Format(time.DateOnly)), Fix: "put a new one in its place: hookmux takes it at the next connection"})
	case left < 7*24*time.Hour:
		findings = append(findings, emqx.Finding{Severity: emqx.Warning, Code: "tls-expires", What: fmt.Sprintf("hookmux's certificate %s expires on %s", cfg.TLS.Cert, source.Expires().Format(time.DateOnly)), Fix: "put a new one in its place: hookmux takes it at the next connection"})
	}
	return findings
}
