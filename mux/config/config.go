// Package config reads hookmux.yaml and gives a validated value.
//
// # Use
//
//	cfg, err := config.Load("hookmux.yaml")
//
// A file is right as a whole or not taken at all. The error then holds every
// mistake of the file, one *Error each, sorted by line:
//
//	hookmux.yaml:12: providers[1].on_falure: unknown key; did you mean on_failure? Allowed: name, command, …
//
// # Where things are
//
// The keys, with type, default and meaning, are tables in keys.go: the one
// source of what is read, what is allowed and what the documentation says. A
// file goes through three steps: parse.go makes a tree of YAML text, tree.go
// one without aliases, merge keys and ${…}, and the readers of the tables take
// what they expect from it.
//
// # Secrets
//
// Any string value may hold ${env:NAME} or ${file:PATH}. They are put in after
// parsing, so that what they hold is never read as YAML. No error shows such a
// value, nor one of a plugin's config, environment or command line.
//
// # YAML's traps
//
// yes, no, on and off are strings, as in YAML 1.2. A number with a leading zero
// is octal in one YAML and decimal in the other, and so refused where it would
// reach a plugin as a number.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/mux/trail"
)

// Config is what hookmux.yaml says.
type Config struct {
	// Listen is where brokers connect, host:port.
	Listen string
	// TLS is how; nil: in the clear.
	TLS *TLS
	// Limits is what they may ask at most.
	Limits Limits
	// Timeout bounds one event, all providers together.
	Timeout time.Duration
	// Default are the answers to access hooks about which no provider has an
	// opinion: true allows. A hook without one is left to the broker.
	Default map[mux.Hook]bool
	// Strategy is how the answers to each access hook are merged.
	Strategy [mux.NumHooks]mux.Strategy
	Log      Log
	// Admin is where operators connect.
	Admin Admin
	// Trail is how many decisions are remembered.
	Trail trail.Options
	// Tracing is where traces of events go.
	Tracing Tracing
	// State is the file that keeps what the providers declared, "off", or "" for the
	// default.
	State string
	// Spool is where events are stored that are delivered durably.
	Spool Spool
	// Watch has hookmux reload the config when it or one of Files changes.
	Watch bool
	// Files are what ${file:…} named, absolute.
	Files []string
	// GCHeadroom is how many bytes of garbage may pile up.
	GCHeadroom int64
	// Providers are in chain order; there is at least one.
	Providers []Provider
}

// Log is how hookmux logs.
type Log struct {
	Level slog.Level
	JSON  bool // JSON lines, else text
}

// Provider is one provider: a plugin, which has a Command, or a remote, which
// has a URL. In Spec, what the file leaves out is zero: mux has its defaults.
type Provider struct {
	mux.Spec

	// Command is the plugin's program and its arguments; empty for a remote.
	// The program is an absolute path, or a name without a slash, to be looked
	// up in PATH.
	Command []string
	// Config is a JSON object for the plugin; nil when there is none.
	Config json.RawMessage
	// ConfigAt is where the file has Config, as file:line.
	ConfigAt string `json:"-"` // where it stands makes no difference to the process
	// Env is all of the plugin's environment but what hookmux itself sets.
	Env map[string]string
	// Dir is the plugin's working directory, absolute.
	Dir string
	// StartTimeout is how long the plugin may take to start.
	StartTimeout time.Duration
	// Process is what the plugin's process may be and use.
	Process Process

	optional bool // required: false

	// URL is where a remote listens, http://host:port or https://host:port;
	// empty for a plugin.
	URL string
	// TLS is how a remote with https is connected to; nil: as RemoteTLS{}.
	TLS *RemoteTLS
}

// IsRemote says whether the provider is a remote.
func (p *Provider) IsRemote() bool { return p.URL != "" }

// Defaults of the keys that mux.Spec has none for.
const (
	DefaultListen       = "127.0.0.1:9000"
	DefaultTimeout      = mux.DefaultEventTimeout
	DefaultStartTimeout = 10 * time.Second
	DefaultGCHeadroom   = 32 << 20
)

// Example is the shortest useful file.
const Example = `providers:
  - name: login
    command: [./login]
`

// Error is one thing that is wrong with a file.
type Error struct {
	File string
	Line int    // from 1
	Key  string // such as providers[1].timeout; empty: the file as a whole
	Text string // what is wrong and what is allowed
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Key, e.Text)
}

// Bounds of what is read, so that a wrong file costs little.
const (
	maxFile     = 1 << 20
	maxExpanded = 4 << 20 // all of ${…} together
	maxNodes    = 100_000 // values after aliases are followed
	maxDepth    = 64      // values within values
	maxErrors   = 100
)

// Sources is where a file's relative paths, ${env:…} and ${file:…} lead. The
// zero value is the process's own environment and working directory.
type Sources struct {
	Dir      string                            // what relative paths are relative to
	Env      func(name string) (string, bool)  // default os.LookupEnv
	ReadFile func(path string) ([]byte, error) // gets absolute paths
}

// Load reads and validates a file.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the config: %w", err)
	}
	return Parse(path, data, Sources{Dir: filepath.Dir(path)})
}

// Parse validates the text of a file; name is what errors call it.
func Parse(name string, data []byte, src Sources) (*Config, error) {
	cfg, r, err := read(name, data, src)
	if err != nil {
		return nil, err
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	cfg.Files = slices.Sorted(maps.Keys(r.read))
	return cfg, nil
}

// read reads what can be read, and the reader has what is wrong.
func read(name string, data []byte, src Sources) (*Config, *reader, error) {
	r := &reader{file: name, src: src}
	if r.src.Env == nil {
		r.src.Env = os.LookupEnv
	}
	if r.src.ReadFile == nil {
		r.src.ReadFile = readFile
	}
	// Absolute, because a program that is found as "login" would be looked up
	// in PATH, and one that is found as "bin/login" in its working directory.
	var err error
	if r.src.Dir, err = filepath.Abs(src.Dir); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	cfg := &Config{Listen: DefaultListen, Timeout: DefaultTimeout, GCHeadroom: DefaultGCHeadroom, Limits: Limits{DefaultMessageLimit, DefaultCallLimit, DefaultConnectionLimit}, Spool: defaultSpool()}
	if root := r.parse(data); root != nil {
		given := r.mapping("", root, cfg.keys())
		r.checkSpool(cfg, given["spool"])
	}
	return cfg, r, nil
}

// readFile reads a file that may be a device or a pipe without end.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &fs.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	return data, err
}

var errTooLarge = errors.New("it is larger than 1 MiB")
