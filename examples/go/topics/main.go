// Topics says who may use which topic, and mends or drops messages.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// Rules are the topic filters a user may use, by user name; "*" stands for
	// everybody. In a filter, %u is the user's name and %c the client's id.
	Rules map[string][]string `json:"rules"`
	// Raw are topics whose payload gets Unit behind it.
	Raw  []string `json:"raw"`
	Unit string   `json:"unit"`
	// Drop are topics that are dropped, Words payloads that are: those that
	// contain one of the words.
	Drop  []string `json:"drop"`
	Words []string `json:"words"`
}

type plugin struct{ config config }

func (p *plugin) Start(context.Context) error {
	var problems []error
	for user, filters := range p.config.Rules {
		for _, f := range filters {
			if err := sdk.CheckFilter(f); err != nil {
				problems = append(problems, fmt.Errorf("config: rules of %q: %w", user, err))
			}
		}
	}
	if slices.Contains(p.config.Words, "") {
		problems = append(problems, errors.New(`config: "words" has an empty word, which every payload contains`))
	}
	return errors.Join(problems...)
}

// Topics keeps every other message away from the plugin; only the words can be
// in any of them.
func (p *plugin) Topics() sdk.Topics {
	if wanted := slices.Concat(p.config.Raw, p.config.Drop); len(p.config.Words) == 0 && len(wanted) > 0 {
		return sdk.Topics{sdk.MessagePublish: wanted}
	}
	return nil
}

// OnClientAuthorize denies whatever no rule allows.
func (p *plugin) OnClientAuthorize(_ context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	client := r.GetClientinfo()
	for _, f := range slices.Concat(p.config.Rules[client.GetUsername()], p.config.Rules["*"]) {
		if f, ok := fill(f, client); ok && sdk.Covers(f, r.GetTopic()) {
			return sdk.Allow, nil
		}
	}
	return sdk.Deny.Final(), nil
}

// fill puts the client's names into a filter. A name that is empty or would be
// read as several levels or as a wildcard fits no rule.
func fill(filter string, client *sdk.ClientInfo) (string, bool) {
	for placeholder, name := range map[string]string{"%u": client.GetUsername(), "%c": client.GetClientid()} {
		if strings.Contains(filter, placeholder) && (name == "" || strings.ContainsAny(name, "/+#%")) {
			return "", false
		}
	}
	return strings.NewReplacer("%u", client.GetUsername(), "%c", client.GetClientid()).Replace(filter), true
}

func (p *plugin) OnMessagePublish(_ context.Context, r *sdk.MessagePublishRequest) (sdk.Answer, error) {
	m := r.GetMessage()
	if covered(p.config.Drop, m.GetTopic()) {
		return sdk.Drop.Final(), nil
	}
	for _, word := range p.config.Words {
		if bytes.Contains(m.GetPayload(), []byte(word)) {
			return sdk.Drop.Final(), nil
		}
	}
	if covered(p.config.Raw, m.GetTopic()) {
		m.Payload = fmt.Appendf(nil, "%s %s", m.GetPayload(), p.config.Unit)
		return sdk.Rewrite(m), nil
	}
	return sdk.Pass, nil
}

func covered(filters []string, topic string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return sdk.Covers(f, topic) })
}

func main() {
	var p plugin
	sdk.MustConfig(&p.config)
	sdk.Serve(&p)
}
