// Authz-rules lets clients publish and subscribe by a file of rules.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hookmux/hookmux/plugins/internal/refusal"
	"github.com/hookmux/hookmux/plugins/internal/topicfilter"
	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// Rules is the file's path.
	Rules string `json:"rules"`
	// NoMatch is the answer where no rule matches: deny or ignore.
	NoMatch string `json:"no_match"`
}

type plugin struct {
	config  config
	rules   atomic.Pointer[ruleSet]
	refused refusal.Log
	reload  sync.WaitGroup
	end     context.CancelFunc
}

func (p *plugin) Start(context.Context) error {
	switch p.config.NoMatch {
	case "":
		p.config.NoMatch = "deny"
	case "deny", "ignore":
	default:
		return fmt.Errorf(`config: "no_match" is %q; allowed: deny, ignore`, p.config.NoMatch)
	}
	if p.config.Rules == "" {
		return errors.New(`config: "rules" is missing: the path of a file with rules, relative to hookmux.yaml`)
	}
	text, err := readRules(p.config.Rules)
	if err != nil {
		return err
	}
	rules, err := parseRules(p.config.Rules, text)
	if err != nil {
		return err
	}
	p.rules.Store(rules)
	watcher, err := newWatcher(p.config.Rules, text)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	p.end = end
	p.reload.Go(func() { watcher.run(ctx, p.rules.Store) })
	return nil
}

// Stop ends the watching of the file.
func (p *plugin) Stop(context.Context) error {
	p.end()
	p.reload.Wait()
	return nil
}

// Pure is true between two changes of the file: the answer depends on the request.
func (p *plugin) Pure() []sdk.Hook { return []sdk.Hook{sdk.ClientAuthorize} }

// OnClientAuthorize answers by the first rule that matches. A denial is for good.
func (p *plugin) OnClientAuthorize(_ context.Context, r *sdk.ClientAuthorizeRequest) (sdk.Access, error) {
	q := topicfilter.Of(r)
	rule, err := p.rules.Load().first(&q)
	switch {
	case err != nil:
		p.deny("a condition failed", &q, rule, "error", err.Error())
		return sdk.Deny.Final(), nil
	case rule == nil && p.config.NoMatch == "ignore":
		return sdk.NoOpinion, nil
	case rule == nil:
		p.deny("no rule matches", &q, nil)
		return sdk.Deny.Final(), nil
	case rule.allow:
		return sdk.Allow, nil
	default:
		p.deny("a rule denies it", &q, rule)
		return sdk.Deny.Final(), nil
	}
}

func (p *plugin) deny(why string, q *topicfilter.Question, by *rule, attrs ...any) {
	attrs = append(attrs, "action", q.Action(), "topic", refusal.Short(q.Topic))
	if by != nil {
		attrs = append(attrs, "rule", fmt.Sprintf("%s:%d", p.config.Rules, by.line))
	}
	p.refused.Deny(why, q.Client, attrs...)
}

func main() {
	p := new(plugin)
	sdk.MustConfig(&p.config)
	sdk.Serve(p)
}
