package sdk

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/hookmux/hookmux/proto/handshake"
)

// Config fills *into, a pointer to a struct or a map, with the plugin's
// `config` from hookmux.yaml. Started by hand, the plugin takes it from the
// JSON file of --config FILE, or from the environment variable HOOKMUX_CONFIG.
// What is there before the call are the defaults.
//
// It is strict, since a misspelled key in the config of a plugin that lets
// clients in should not be found out later: an unknown key is an error that
// names the allowed ones, and so are a key given twice, a value of the wrong
// type, and anything after the object. Keys are matched exactly, by the `json`
// tags of the struct. Values that must be there are the plugin's to check, best
// in Start.
func Config(into any) error {
	leaveStdout()
	raw, source, err := rawConfig(os.Args[1:])
	if err != nil {
		return err
	}
	if err := decodeConfig(raw, into); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}

// MustConfig is Config for a main function: it ends the process by Exit if the
// config is not right.
func MustConfig(into any) { Exit(Config(into)) }

// Exit writes err to stderr and ends the process with status 1; hookmux shows
// the text as the reason why the plugin did not start. It does nothing for nil.
func Exit(err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", pluginName(), err)
	os.Exit(1)
}

// rawConfig finds the JSON and says where it came from.
func rawConfig(args []string) (raw []byte, source string, err error) {
	if !underHookmux() {
		f, err := parseFlags(args)
		if err == nil && f.config != "" {
			raw, err := os.ReadFile(f.config)
			return raw, "config " + f.config, err
		}
		// Serve reports wrong flags, together with how to run the plugin.
	}
	if env := os.Getenv(handshake.EnvConfig); env != "" {
		return []byte(env), "config", nil
	}
	return []byte("{}"), "config", nil
}

func decodeConfig(raw []byte, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("sdk.Config needs a pointer to a struct, not %T", into)
	}
	if err := checkConfig(raw, target.Type().Elem()); err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// Duration is a time span for configs, written as time.ParseDuration reads it:
// "250ms", "5s", "1h30m".
type Duration time.Duration

// UnmarshalText reads a duration; encoding/json calls it.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// MarshalText writes a duration; encoding/json calls it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }
