package config

import (
	"encoding/json"
	"fmt"
	"io"
)

// A Config and its Providers hold secrets. They can be printed and logged, however that
// is done, and show none.

// String says next to nothing, and no secret.
func (c Config) String() string { return fmt.Sprintf("a config with %d providers", len(c.Providers)) }

// Format is String, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// MarshalText is String: a log may be JSON.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// String names the provider, and shows no secret.
func (p Provider) String() string {
	if p.IsRemote() {
		return "remote " + p.Name
	}
	return "plugin " + p.Name
}

// Format is String, whatever the verb.
func (p Provider) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalText is String: a log may be JSON.
func (p Provider) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Encode is all that a provider's process or connection is made of, secrets too, to be
// compared with another.
func (p *Provider) Encode() []byte {
	type all Provider
	data, err := json.Marshal((*all)(p))
	if err != nil {
		panic(err) // there is nothing in it that JSON has not
	}
	return data
}
