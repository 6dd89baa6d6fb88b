package sdk

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/hookmux/hookmux/proto/handshake"
)

// flags are the arguments of a plugin started by hand. Under hookmux the
// arguments are the plugin's own.
type flags struct {
	standalone string // address to serve EMQX at
	config     string // JSON file
	help       bool
}

// parseFlags is strict: a misspelled --config must not be a plugin without one.
func parseFlags(args []string) (flags, error) {
	var f flags
	known := map[string]*string{"standalone": &f.standalone, "config": &f.config}
	for i := 0; i < len(args); i++ {
		name, val, hasVal := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			return f, fmt.Errorf("unexpected argument %q", args[i])
		}
		if name == "h" || name == "help" {
			f.help = true
			continue
		}
		into, ok := known[name]
		if !ok {
			return f, fmt.Errorf("unknown flag %s%s", args[i], didYouMean(name, []string{"standalone", "config", "help"}))
		}
		if !hasVal {
			if i++; i == len(args) || strings.HasPrefix(args[i], "--") {
				return f, fmt.Errorf("flag --%s needs a value", name)
			}
			val = args[i]
		}
		if val == "" {
			return f, fmt.Errorf("flag --%s needs a value", name)
		}
		*into = val
	}
	if f.standalone != "" {
		// net.Listen takes a bare port for every interface.
		if _, _, err := net.SplitHostPort(f.standalone); err != nil {
			return f, fmt.Errorf("--standalone: expected host:port, such as 127.0.0.1:9000, or :9000 for every interface; found %q", f.standalone)
		}
	}
	return f, nil
}

// underHookmux reports whether hookmux, or another go-plugin host that knows
// the cookie, has started this process.
func underHookmux() bool { return os.Getenv(handshake.CookieKey) == handshake.CookieValue }

// pluginName is the plugin's name in hookmux.yaml, or the program's.
func pluginName() string {
	if name := os.Getenv(handshake.EnvName); name != "" {
		return name
	}
	return filepath.Base(os.Args[0])
}
