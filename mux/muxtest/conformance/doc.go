// Package conformance tells whether any program is a good plugin: it starts the
// program as hookmux would, and tries what proto/README.md asks of it, on both
// app protocols.
//
// # Use
//
//	report, err := conformance.Run(ctx, conformance.Options{Command: []string{"python3", "plugin.py"}})
//	report.Write(os.Stdout)
//
// A check is ok, or has failed, which a plugin under hookmux would pay for; or it
// has a note, for what is good to have; or it was left out, because the plugin
// does not do what it is about. What the plugin's handlers decide is its own affair:
// an error is an answer too.
//
// # Where things are
//
// process.go starts and ends the program, wire.go speaks the two protocols,
// sample.go makes requests, checks_*.go are the checks, in tables.
package conformance
