package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hookmux/hookmux/mux/admin"
	"github.com/hookmux/hookmux/mux/config"
)

// adminFlags adds what finds a hookmux that runs.
func adminFlags(cmd *cobra.Command) (client func() (*admin.Client, error)) {
	file := configFlag(cmd)
	at := cmd.Flags().String("admin", "", "admin `address` of the hookmux: a socket, or http://host:port with the token in HOOKMUX_TOKEN (default: what the config says)")
	return func() (*admin.Client, error) {
		to := target{address: strings.TrimPrefix(*at, "unix:")}
		if to.address == "" {
			var err error
			if to, err = adminTarget(*file); err != nil {
				return nil, err
			}
		}
		address := to.address
		if u, err := url.Parse(address); strings.Contains(address, "://") && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "") {
			return nil, fmt.Errorf("--admin: expected http://host:port, https://host:port or the path of a socket; found %q", address)
		}
		if _, _, err := net.SplitHostPort(address); err == nil && !strings.Contains(address, "/") {
			return nil, fmt.Errorf("--admin: write http://%s, or https:// if it has TLS; without that it is the path of a socket", address)
		}
		if given := os.Getenv("HOOKMUX_TOKEN"); given != "" {
			to.token = given
		}
		c := admin.NewClient(address, to.token)
		if to.cert != "" {
			return c, c.Trust(to.cert)
		}
		return c, nil
	}
}

// target is where a hookmux is to be found, and what to show and expect there.
type target struct{ address, token, cert string }

// adminTarget is where the hookmux with this config is to be found. The config
// may be broken meanwhile: then what its key admin says counts, or else the default.
func adminTarget(flag string) (target, error) {
	path, err := findConfig(flag)
	if err != nil {
		return target{}, err
	}
	at, err := config.LoadAdmin(path)
	switch {
	case err != nil || at.Listen == "":
		places := defaultAdmins(path)
		for _, socket := range places {
			// In a folder for all, such as /tmp, it may be somebody else's, who would tell
			// us what they like. The system's belongs to the service's user.
			info, err := os.Lstat(socket)
			if err != nil {
				continue
			}
			owner, ok := info.Sys().(*syscall.Stat_t)
			if ok && (int(owner.Uid) == os.Getuid() || owner.Uid == 0) || filepath.Dir(socket) == systemRun {
				return target{address: socket}, nil
			}
		}
		if err != nil {
			return target{}, fmt.Errorf("where hookmux is to be found is not known; name the address with --admin, or mend the config:\n%w", err)
		}
		return target{address: places[0]}, nil
	case at.IsTCP():
		to := target{"http://" + reachable(at.Listen), string(at.Token), at.Cert}
		if to.cert != "" {
			to.address = "https://" + reachable(at.Listen)
		}
		return to, nil
	case at.Listen == config.Off:
		return target{}, fmt.Errorf("%s says admin: off, so hookmux cannot be reached", path)
	}
	return target{address: at.Listen}, nil
}

// reachable is an address that leads to who listens at listen.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print all there is to know, as JSON")
}
