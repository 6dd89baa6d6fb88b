package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
	"github.com/hookmux/hookmux/mux/emqx"
	"github.com/hookmux/hookmux/mux/secure"
)

// emqxFlags are what finds an EMQX, and the hookmux beside it.
type emqxFlags struct {
	admin         func() (*admin.Client, error)
	emqx, key, ca *string
	name, url     *string
}

// The environment variables that hold an API key.
const (
	emqxKeyVar    = "HOOKMUX_EMQX_KEY"
	emqxSecretVar = "HOOKMUX_EMQX_SECRET"
)

func newEMQXFlags(cmd *cobra.Command) *emqxFlags {
	f := &emqxFlags{
		admin: adminFlags(cmd),
		emqx:  cmd.Flags().String("emqx", "http://127.0.0.1:18083", "`URL` of EMQX's dashboard, which has the REST API"),
		key:   cmd.Flags().String("api-key-file", "", "`file` with an API key of EMQX and its secret, as KEY:SECRET (default: the environment's "+emqxKeyVar+" and "+emqxSecretVar+")"),
		ca:    cmd.Flags().String("emqx-ca", "", "PEM `file` with who signed the dashboard's certificate (default: who the system trusts)"),
		name:  cmd.Flags().String("name", "hookmux", "`name` of hookmux's entry in EMQX; while one takes over from the other it is also NAME-2"),
		url:   cmd.Flags().String("url", "", "`URL` at which EMQX is to call hookmux (default: as it is, or what the config says of listen and tls)"),
	}
	return f
}

func (f *emqxFlags) client() (*emqx.Client, error) {
	key, secret := os.Getenv(emqxKeyVar), os.Getenv(emqxSecretVar)
	if *f.key != "" {
		data, err := os.ReadFile(*f.key)
		if err != nil {
			return nil, fmt.Errorf("the API key: %w", err)
		}
		var ok bool
		// EMQX's own file of keys may have a role behind the secret.
		line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
		if key, secret, ok = strings.Cut(strings.TrimSpace(line), ":"); !ok {
			return nil, fmt.Errorf("the API key: %s must hold KEY:SECRET", *f.key)
		}
		secret, _, _ = strings.Cut(secret, ":")
	}
	if key == "" || secret == "" {
		return nil, fmt.Errorf("EMQX's API needs a key: make one in its dashboard under System, API Key, and put KEY:SECRET into a file for --api-key-file, or both into %s and %s", emqxKeyVar, emqxSecretVar)
	}
	var trust *tls.Config
	if *f.ca != "" {
		source, err := secure.Load(secure.Files{CA: *f.ca}, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		trust = source.Client("")
	}
	return emqx.NewClient(emqx.Options{URL: *f.emqx, Key: key, Secret: secret, TLS: trust})
}

// ours is hookmux, by its config and by what it says itself.
func (f *emqxFlags) ours(ctx context.Context, cmd *cobra.Command) (*emqx.Ours, *config.Config, *admin.Client, error) {
	file, _ := cmd.Flags().GetString("config")
	cfg, _, err := loadConfig(file)
	if err != nil {
		return nil, nil, nil, err
	}
	o := &emqx.Ours{Name: *f.name, URL: *f.url, Listen: cfg.Listen, TLS: cfg.TLS != nil, WantsCert: cfg.TLS != nil && cfg.TLS.ClientCA != "", Timeout: cfg.Timeout}
	for h := range cfg.Default {
		o.Defaults = append(o.Defaults, h.String())
	}
	c, err := f.admin()
	if err != nil {
		o.Unreachable = err
		return o, cfg, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		o.Unreachable = err
		return o, cfg, nil, nil
	}
	o.Ready, o.Nodes = s.Ready, make(map[string][]string)
	for _, b := range s.Brokers {
		o.Nodes[b.Node] = b.Missing
	}
	for _, p := range s.Providers {
		if p.Status != "up" {
			o.Down = append(o.Down, fmt.Sprintf("%s (%s)", p.Name, p.Status))
		}
	}
	o.Hooks = wantedHooks(s.Hooks)
	return o, cfg, c, nil
}

// wantedHooks are the hooks, each with the topics of all who want it.
func wantedHooks(hooks []admin.Hook) (out []emqx.Hook) {
	for _, h := range hooks {
		w := emqx.Hook{Name: h.Hook}
		all := h.Default != "" || len(h.Providers) == 0
		for _, p := range h.Providers {
			all = all || len(p.Topics) == 0
			for _, topic := range p.Topics {
				if !slices.Contains(w.Topics, topic) {
					w.Topics = append(w.Topics, topic)
				}
			}
		}
		if all {
			w.Topics = nil
		}
		out = append(out, w)
	}
	return out
}

// again are the flags that find the same EMQX.
func (f *emqxFlags) again() string {
	s := " --emqx " + *f.emqx
	for _, flag := range [][2]string{{"--api-key-file", *f.key}, {"--emqx-ca", *f.ca}, {"--url", *f.url}} {
		if flag[1] != "" {
			s += " " + flag[0] + " " + flag[1]
		}
	}
	return s
}

// callURL is where EMQX is to call a hookmux with this config; empty if the config does
// not say it.
func callURL(cfg *config.Config) string {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() || port == "0" {
		return ""
	}
	scheme := "http"
	if cfg.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + cfg.Listen
}

func newEMQX() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "emqx",
		Short: "Bring hookmux into EMQX",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRegister())
	return cmd
}

func newRegister() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "register",
		Short: "Make hookmux an ExHook server of EMQX, or bring its entry up to date",
		Long: `register makes hookmux an ExHook server of EMQX, by its REST API, and brings the entry
up to date later: its settings, and which hooks EMQX sends. Run again, it finds
nothing to do.

EMQX learns of hooks only when it loads a server, and to load one again it first
unloads it, and asks nobody until that is done. So an entry that runs is not
changed but replaced: a second one, NAME-2, is loaded on every node first, then
the first one goes. Events that come twice meanwhile are recognised, and nobody
is asked or told again; hookmux itself must run for that, and be reached at its
admin address. A hook with an answer that was not sent before is refused for that
moment: EMQX takes the first entry, which does not know it, for a failure.

The API key is made in EMQX's dashboard under System, API Key.`,
		Example: `  hookmux emqx register --emqx http://127.0.0.1:18083 --api-key-file /etc/hookmux/emqx.key --dry-run
  hookmux emqx register --emqx https://emqx.example:18084 --emqx-ca ca.pem --api-key-file emqx.key --url https://hookmux.example:9000 --server-ca ca.pem`,
		Args: onlyConfig,
	}
	f := newEMQXFlags(cmd)
	flags := cmd.Flags()
	dry := flags.Bool("dry-run", false, "only say what would be done")
	force := flags.Bool("force", false, "replace the entry also if it is as it should be, for other certificates")
	timeout := flags.Duration("request-timeout", 0, "how long EMQX waits for an answer (default: as it is, if that is more than the config's timeout, or 5s)")
	reconnect := flags.Duration("auto-reconnect", 0, "how often EMQX tries to reach hookmux while it cannot (default: as it is, or 10s)")
	pool := flags.Int("pool-size", 0, "how many connections each node has (default: as it is, or 8)")
	serverCA := flags.String("server-ca", "", "PEM `file` for EMQX: who signed hookmux's certificate")
	clientCert := flags.String("client-cert", "", "PEM `file` for EMQX: the certificate that it shows hookmux")
	clientKey := flags.String("client-key", "", "PEM `file` for EMQX: that certificate's key")
	wait := flags.Duration("wait", 30*time.Second, "how long EMQX may take to load hookmux on every node")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := untilSignal()
		defer stop()
		client, err := f.client()
		if err != nil {
			return err
		}
		ours, cfg, hookmux, err := f.ours(ctx, cmd)
		if err != nil {
			return err
		}
		w := emqx.Wanted{
			Name: *f.name, URL: *f.url, DefaultURL: callURL(cfg), Timeout: *timeout, Least: cfg.Timeout, AutoReconnect: *reconnect, PoolSize: *pool,
		}
		if w.Timeout != 0 && w.Timeout <= cfg.Timeout {
			return fmt.Errorf("--request-timeout %s must be more than the config's timeout, %s: EMQX would give up before the failure policies count", w.Timeout, cfg.Timeout)
		}
		if w.SSL, err = sslOf(cmp.Or(w.URL, w.DefaultURL), *serverCA, *clientCert, *clientKey); err != nil {
			return err
		}
		r := &emqx.Registration{
			Client: client, Wanted: w, Hooks: ours.Hooks, DryRun: *dry, Force: *force, Patience: *wait,
			Say: func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) },
		}
		if hookmux != nil {
			r.Window = window{hookmux}
			r.Known = slices.Sorted(maps.Keys(ours.Nodes))
		} else {
			fmt.Fprintf(cmd.ErrOrStderr(), "hookmux itself cannot be asked, so only the settings are looked at: %v\n", ours.Unreachable)
		}
		return r.Run(ctx)
	}
	return cmd
}

// window is a running hookmux as package emqx sees it.
type window struct{ *admin.Client }

// Expect implements emqx.Window.
func (w window) Expect(ctx context.Context, during time.Duration) ([]string, int64, error) {
	d, err := w.ExpectDoubles(ctx, during)
	return d.Nodes, d.Recognised, err
}

// sslOf is EMQX's object ssl for a URL: it takes the texts of the files, and keeps them.
func sslOf(url, ca, cert, key string) (map[string]any, error) {
	if !strings.HasPrefix(url, "https://") {
		if ca+cert+key != "" {
			return nil, errors.New("certificates are of no use with a URL of http://: give hookmux tls, or write --url https://…")
		}
		return nil, nil
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("--client-cert and --client-key go together")
	}
	ssl := map[string]any{"enable": true}
	for name, file := range map[string]string{"cacertfile": ca, "certfile": cert, "keyfile": key} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(string(data), "-----BEGIN") {
			return nil, fmt.Errorf("%s is no PEM file", file)
		}
		ssl[name] = string(data)
	}
	if ca != "" {
		ssl["verify"] = "verify_peer"
	}
	return ssl, nil
}
