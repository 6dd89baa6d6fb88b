package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/internal/tlsfiles"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// Servers are nats:// or tls:// URLs; any of them will do.
	Servers []string `json:"servers"`
	// Subject is a template.
	Subject string `json:"subject"`
	// Hooks whose events are forwarded; message.publish if empty.
	Hooks []sdk.Hook `json:"hooks"`
	// JetStream: an event is done when a stream has stored it. Otherwise when the
	// server has it, whoever listens.
	JetStream bool `json:"jetstream"`
	// Stream is made if it is missing, for all subjects that begin as Subject does.
	Stream string `json:"stream"`
	// One way to log in, or none.
	User        string `json:"user"`
	Password    string `json:"password"`
	Token       string `json:"token"`
	Credentials string `json:"credentials"` // a .creds file
	// TLS is used when it is there, or by a tls:// URL.
	TLS *tlsfiles.Config `json:"tls"`
}

func defaults() config {
	return config{Servers: []string{nats.DefaultURL}, Subject: "mqtt.{topic}", JetStream: true}
}

// rules of NATS: a token must not be empty and has no blanks and wildcards. All that is not
// allowed, and %, is written as % and two digits, so that different topics stay different. A $
// would make a subject one of NATS's own. What is longer than a line may be would
// cost the connection.
//
//nolint:gochecknoglobals // a constant
var rules = event.Rules{Longest: 1024, Escape: func(level string) string {
	if level == "" {
		return "%"
	}
	var b strings.Builder
	for _, c := range []byte(level) {
		if c <= ' ' || c == 0x7f || strings.IndexByte(".*>$%", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}}

var streamName = regexp.MustCompile(`^[^\s.*>/\\]+$`)

// options are what the connection needs; errors name the key and never a secret.
func (c *config) options() ([]nats.Option, error) {
	if len(c.Servers) == 0 {
		return nil, errors.New("servers: none is there")
	}
	for i, s := range c.Servers {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			return nil, fmt.Errorf("servers: number %d is no URL such as nats://host:4222 or tls://host:4222; what a password has of @ : / ? # %% is written as %%40 and the like", i+1)
		}
		if strings.Contains(u.Host, ",") {
			return nil, fmt.Errorf("servers: number %d has more than one host: each is an entry of its own", i+1)
		}
	}
	if c.Stream != "" && !c.JetStream {
		return nil, errors.New("stream: there are streams only with jetstream: true")
	}
	if c.Stream != "" && !streamName.MatchString(c.Stream) {
		return nil, fmt.Errorf("stream: %q must not have blanks, dots, slashes and wildcards", c.Stream)
	}
	options := []nats.Option{
		nats.Name("hookmux forward-nats"),
		// Connect would split one URL at its commas, which a password may have.
		func(o *nats.Options) error { o.Servers = c.Servers; return nil },
		// A connection that came back by itself could bring later events before earlier
		// ones that were lost with the old one.
		nats.NoReconnect(),
	}
	ways := 0
	if c.User != "" || c.Password != "" {
		ways++
		options = append(options, nats.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		ways++
		options = append(options, nats.Token(c.Token))
	}
	if c.Credentials != "" {
		ways++
		if _, err := os.Stat(c.Credentials); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if ways > 1 {
		return nil, errors.New("user, token, credentials: there is more than one way to log in")
	}
	if c.TLS != nil {
		conf, err := c.TLS.Load()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Secure(conf))
	}
	return options, nil
}
