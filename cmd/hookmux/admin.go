package main

import (
	"fmt"
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
		address, token, err := strings.TrimPrefix(*at, "unix:"), "", error(nil)
		if address == "" {
			if address, token, err = adminAddress(*file); err != nil {
				return nil, err
			}
		}
		if u, err := url.Parse(address); strings.Contains(address, "://") && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "") {
			return nil, fmt.Errorf("--admin: expected http://host:port, https://host:port or the path of a socket; found %q", address)
		}
		if given := os.Getenv("HOOKMUX_TOKEN"); given != "" {
			token = given
		}
		return admin.NewClient(address, token), nil
	}
}

// adminAddress is where the hookmux with this config is to be found. The config
// may be broken meanwhile: then only the default is known.
func adminAddress(flag string) (address, token string, err error) {
	path, err := findConfig(flag)
	if err != nil {
		return "", "", err
	}
	cfg, err := config.Load(path)
	switch {
	case err != nil || cfg.Admin.Listen == "":
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
				return socket, "", nil
			}
		}
		return places[0], "", nil
	case cfg.Admin.IsTCP():
		return "http://" + cfg.Admin.Listen, string(cfg.Admin.Token), nil
	case cfg.Admin.Listen == config.Off:
		return "", "", fmt.Errorf("%s says admin: off, so hookmux cannot be reached", path)
	}
	return cfg.Admin.Listen, "", nil
}

func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print all there is to know, as JSON")
}
