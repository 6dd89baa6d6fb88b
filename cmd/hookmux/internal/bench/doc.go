// Package bench measures what hookmux costs, end to end, on the machine it runs
// on: a real hookmux with real plugin processes, beside the same handler served
// directly by grpc-go as it comes.
//
// # How it measures
//
// The process that calls Run is the load generator. It calls as EMQX does, over
// eight connections chosen by client id, with requests encoded beforehand. All
// else are children of it: hookmux with its plugins, and the direct servers.
// What is compared runs in turns, A B A B, for the same time each; every pair
// gives one ratio, and the median of the pairs is the result. So what else the
// machine does hits both sides alike.
//
// CPU is user and system time of all processes but the load generator, from
// /proc, divided by the events.
//
// # What makes it honest
//
// The built-in plugin counts what it handles in a file that both sides have
// mapped. A measurement ends when every plugin has handled every event, and it
// fails unless each count is exactly what was sent, each decision came back
// rewritten once by each plugin, and hookmux has logged no warning. A
// measurement that fails gives no ratio.
//
// # What a further plugin costs
//
// Of a further plugin most is the batch, not the event: system calls and goroutine
// switches on both sides. So the ratios of each further plugin depend on how many events
// share a batch, and get worse when other programs keep the machine busy. On a busy
// machine of two CPUs a further notification plugin costs 0.26 of a direct call (it
// was 0.36), a further deciding one 0.9 (it was 1.1 there): above the mark. With four
// deciding plugins asked in turn, each has a quarter of the callers to make batches of.
//
// # Where things are
//
// ratios.go has the table of ratios and the modes they compare, load.go the
// load generator, system.go what is put under load, handler.go the plugin.
package bench
