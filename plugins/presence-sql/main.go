// Presence-sql keeps who is online, and the history of all connections, in a table of
// PostgreSQL, MySQL, MariaDB or SQLite.
package main

import "github.com/hookmux/hookmux/plugins/sdk"

func main() {
	p := plugin{config: defaults()}
	sdk.MustConfig(&p.config)
	sdk.Serve(&p)
}

func (*plugin) BatchHooks() []sdk.Hook {
	return []sdk.Hook{sdk.ClientConnected, sdk.ClientDisconnected}
}
