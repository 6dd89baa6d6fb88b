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
// The mark for a further deciding plugin, 0.6 of a direct call, is missed: it is 0.6
// to 0.7. What was tried for the way of a decision, and sync_each_cpu:
//
//   - each decision sent at once: 1.3
//   - the sender yields before it sends, so that who is about to write shares the
//     batch: 0.94 to 1.08
//   - a fixed pause of 200 µs before each batch: 0.53 in one run, but the pause is
//     added to what a single caller waits, which misses sync1_p50
//   - a pause only while replies are under way, as Nagle's algorithm has it: 0.66 on a
//     quiet machine, 0.7 to 0.9 on a busy one. That is how it is.
//   - besides, the plugin's reader runs quick decisions itself: 0.75 to 0.87 where it
//     was 0.66 to 0.94 without, and sync1_cpu worse. Taken out again.
//
// A batch then has eight decisions on average, so that system calls and the switches
// between threads are shared. What is left is each event's own: on hookmux's side to
// wake the caller, check the answer and write the next request with the new message;
// on the plugin's to decode the request, run the method and encode the answer. It is
// about half and half.
//
// What forward-sql stores is counted in PostgreSQL itself, and must be just what was
// published. That ratio is of a backlog, which waits in hookmux's store while the plugin is
// stopped, so that what is measured is the way into the database and not that of the load.
//
// # Where things are
//
// ratios.go has the table of ratios and the modes they compare, load.go the
// load generator, system.go what is put under load, handler.go the plugin.
package bench
