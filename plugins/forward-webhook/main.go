// Forward-webhook forwards messages, and other events if asked, to a web server as CloudEvents.
package main

import (
	"github.com/hookmux/hookmux/plugins/internal/event"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func main() {
	p := plugin{config: defaults()}
	sdk.MustConfig(&p.config)
	sdk.Serve(&p)
}

func (p *plugin) BatchHooks() []sdk.Hook { return event.Hooks(p.config.Hooks) }
