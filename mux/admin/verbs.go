package admin

import "context"

// Verb is something that can be done to a provider.
type Verb struct {
	Name string // in the path, and on the command line
	do   func(c Control, ctx context.Context, provider string) error
}

// Verbs are all that can be done to a provider.
func Verbs() []Verb {
	return []Verb{
		{"restart", Control.Restart},
		{"drain", Control.Drain},
		{"disable", Control.Disable},
		{"enable", Control.Enable},
	}
}
