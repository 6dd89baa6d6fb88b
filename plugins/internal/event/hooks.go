package event

import "github.com/hookmux/hookmux/plugins/sdk"

// Hooks are the hooks that a config names, or else message.publish.
func Hooks(configured []sdk.Hook) []sdk.Hook {
	if len(configured) == 0 {
		return []sdk.Hook{sdk.MessagePublish}
	}
	return configured
}
