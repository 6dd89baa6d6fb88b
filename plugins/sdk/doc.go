// Package sdk makes a Go struct a plugin of hookmux, the sidecar for the MQTT
// broker EMQX.
//
// # Use
//
// A hook is a method; a plugin has those it needs and no others:
//
//	type plugin struct{}
//
//	func (plugin) OnClientAuthenticate(_ context.Context, r *sdk.ClientAuthenticateRequest) (sdk.Access, error) {
//		if r.GetClientinfo().GetUsername() == "guest" {
//			return sdk.Deny.Final(), nil
//		}
//		return sdk.NoOpinion, nil
//	}
//
//	func main() { sdk.Serve(plugin{}) }
//
// The hooks and their signatures are the interfaces that end in Hook. A method
// that begins with On and is none of them, or has another signature, is an
// error at start: a hook that is never called would be a hole nobody sees.
// Methods of embedded structs count. Start, Stop and Topics are optional; see
// Starter, Stopper and TopicsProvider. Config and MustConfig read what stands
// under `config` in hookmux.yaml.
//
// # Answers
//
// Access hooks answer Allow, Deny or NoOpinion, message hooks Pass, Drop or
// Rewrite. The providers of a hook form a chain, in the order of hookmux.yaml.
// An answer is the value the next one sees, and that one may decide otherwise;
// .Final() makes it the last word. An error, a panic or a zero answer is no
// answer: for this call hookmux then follows the plugin's failure policy, which
// is deny unless configured otherwise. A panic does not end the process; its
// stack is logged.
//
// # Order and concurrency
//
// Methods are called from many goroutines at once: guard what they share.
// Notifications of one client come one after another, in order; those of
// different clients, and decisions, have no order between them. Up to 16
// notifications and 1,024 decisions run at a time, so a notification that takes
// long should be handed to a goroutine of the plugin's own; how ever slow they
// are, decisions do not wait for them. Start has returned before the
// first event comes; Stop is called after the last one, and when calls still
// under way have had a second to end.
//
// # Batches
//
// What stores or forwards events wants many at a time: with BatchHooks and OnBatch, a
// plugin gets them so, in order, instead of by a method for each hook; see BatchHook.
//
// # Duties
//
//   - Be done before the deadline of ctx: later answers count for nothing. It is
//     the smaller of what EMQX still waits and the provider's timeout. Hand ctx
//     on to whatever the method calls; time.Until of its Deadline is what is
//     left. A Go function that ignores ctx cannot be stopped and keeps its memory.
//   - Do not keep a request that is handed on by Rewrite: it is being sent.
//   - Log by log/slog. Under hookmux the default logger writes JSON lines to
//     stderr, which become hookmux's log lines with level and attributes; Start
//     is the place to change the logger. Whatever is printed to stdout, from the
//     call of MustConfig or Serve on, is logged as well. Lines over 8 KiB are cut.
//   - Never log a password. ClientInfo.Password is there in plain text for a
//     plugin that answers client.authenticate.
//   - Keep main short: MustConfig, Serve. What can fail belongs into Start, so
//     that the plugin can still tell by hand what it is.
//
// # Debugging
//
// Started by hand, a plugin says which hooks it answers and how it is run. With
// --standalone 127.0.0.1:9000 it serves one EMQX directly (4.3 and later), without
// hookmux. There it has no failure policy and no timeout but EMQX's: without an
// answer in time access is denied, a message dropped, a notification
// acknowledged, and the reason logged.
//
// # Testing
//
// A hook is a method: a unit test can call it. NewHandler runs the plugin as
// the broker sees it, in the same process, with all checks that Serve makes;
// the example shows it.
package sdk
