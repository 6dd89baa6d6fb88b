// Package muxtest has what tests of hookmux need: a broker that calls like
// EMQX, plugins that misbehave, and recorded traffic of real brokers.
//
// A test binary plays the plugins itself: its TestMain calls MaybePlugin first,
// and Plugin gives the config of a provider that runs this binary.
package muxtest
