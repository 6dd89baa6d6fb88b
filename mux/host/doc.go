// Package host gives providers their connection: it starts, watches, restarts
// and ends the child process of a plugin, and dials a remote.
//
// A host drives one mux.Provider: Provider.Up once the process or server has
// answered OnProviderLoaded, Provider.Down when it is gone. Run does that until
// its context ends and then stops what it started; Settled tells when the first
// attempt has been made, well or badly.
//
// # Taking over
//
// A host is for one process configuration. To replace it, make another for the
// same provider and Prepare it: its process starts, says what it wants and is
// found well, while the first one works on. Then Retire the first, put the provider
// in place (mux.SetProviders) and Run the second; the first ends by itself once
// nothing is under way over it. If Prepare fails, nothing has changed.
//
// # Life of a plugin
//
// A crash is noticed by the exit of the process, a hang by missed health
// checks, after which the process group is killed. Either is followed by a
// restart with growing, jittered delays; after several in a row that were not
// stable the plugin is quarantined: tried at a slow pace, its failure policy in
// force all the while.
//
// # What a plugin cannot do
//
// It sees no environment but its own, has its socket in a directory that only
// its user may enter, has no more than ProcessSpec grants it, and dies with hookmux: the kernel kills our direct
// children (Linux), and the reaper process everything else that carries the
// mark HOOKMUX_ID in its environment, also when hookmux itself was killed. (What
// leaves the process group *and* wipes its environment gets away, unless it has
// a cgroup because of a limit.)
// Whatever it prints, however long or much, is read and becomes log lines.
package host
