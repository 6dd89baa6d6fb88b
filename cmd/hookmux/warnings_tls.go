package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// inTheClear are the ways on which others could read and change events.
func (c *checkup) inTheClear() (out []string) {
	if c.cfg.TLS == nil && !isLoopback(c.cfg.Listen) {
		out = append(out, fmt.Sprintf(`other machines may reach %s, and without TLS: whoever is in between could read the
passwords in events and answer in hookmux's stead. Unless nobody else is in that
network, give it tls: {cert: …, key: …, client_ca: …}.`, c.cfg.Listen))
	}
	for i := range c.cfg.Providers {
		p := &c.cfg.Providers[i]
		if u, err := url.Parse(p.URL); p.IsRemote() && err == nil && u.Scheme == "http" && !isLoopback(u.Host) {
			out = append(out, fmt.Sprintf(`provider %s is on another machine, and called without TLS: whoever is in between
could decide in its stead. Unless nobody else is in that network, give it a url of https://.`, p.Name))
		}
	}
	return out
}

// isLoopback says whether host:port is on this machine alone.
func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}
