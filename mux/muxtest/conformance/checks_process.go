package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/hookmux/hookmux/mux"
	"github.com/hookmux/hookmux/proto/handshake"
)

// processChecks are about the process, whatever it speaks.
var processChecks = []check{
	{"versions", (*suite).checkVersions},
	{"health", (*suite).checkHealth},
	{"idle", (*suite).checkIdle},
	{"noisy stdout", (*suite).checkStdout},
	{"SIGSTOP", (*suite).checkStopped},
	{"crash and restart", (*suite).checkCrash},
	{"Shutdown", (*suite).checkShutdown},
	{"Shutdown under load", (*suite).checkShutdownBusy},
	{"SIGTERM", (*suite).checkTerm},
	{"parent's death", (*suite).checkOrphan},
	{"by hand", (*suite).checkByHand},
}

// checkVersions offers versions from the future, and all that there are.
func (s *suite) checkVersions() result {
	s.drop()
	var chosen []string
	for _, offer := range []string{"1,2,3,99", "2,1"} {
		p, err := startProcess(s, offer)
		if err != nil {
			return bad("offered app protocols %s: %v", offer, err)
		}
		p.kill()
		if p.protocol != s.speaks {
			return bad("offered app protocols %s, it chose %d; the highest that both know is %d", offer, p.protocol, s.speaks)
		}
		chosen = append(chosen, fmt.Sprintf("%d of %s", p.protocol, offer))
	}
	return good("chose %s", strings.Join(chosen, ", "))
}

func (s *suite) checkHealth() result {
	ctx, cancel := context.WithTimeout(s.ctx, s.Patience)
	defer cancel()
	// With gRPC's own codec: the connection's default is for bytes.
	cc, err := s.p.dial()
	if err != nil {
		return bad("%v", err)
	}
	defer cc.Close()
	r, err := healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch code := status.Code(err); {
	case code == codes.Unimplemented, code == codes.NotFound:
		return note("it has no grpc.health.v1 for the service %q; hookmux takes any answer for a sign of life", plugin.GRPCServiceName)
	case err != nil:
		return bad("%v", err)
	case r.GetStatus() != healthpb.HealthCheckResponse_SERVING:
		return bad("it says %s", r.GetStatus())
	}
	return good("SERVING")
}

// checkIdle sees what the plugin costs while nothing happens.
func (s *suite) checkIdle() result {
	s.drop()
	if err := s.start(); err != nil {
		return bad("%v", err)
	}
	settle, watch := time.Second, 2*time.Second
	s.p.exits(settle) // what belongs to its start
	pid := s.p.cmd.Process.Pid
	_, before, ok := usage(pid)
	if !ok {
		return left("memory and CPU are not to be had on this system")
	}
	s.p.exits(watch)
	rss, after, _ := usage(pid)
	share := 100 * float64(after-before) / float64(watch)
	if share > 5 {
		return note("it uses %.0f %% of a CPU while nothing happens; %d MB resident", share, rss/mb)
	}
	return good("%d MB resident, %.1f %% of a CPU", rss/mb, share)
}

func (s *suite) checkStdout() result {
	for _, d := range s.declared {
		_, _ = s.call(d.Hook, sample(d.Hook, "verify-1"))
	}
	if n := s.p.printedOnStdout(); n > 0 {
		return note("%d bytes on stdout after the handshake line; hookmux logs them, but stderr is the place for logs", n)
	}
	return good("nothing but the handshake line")
}

func (s *suite) checkStopped() result {
	h := s.declared[0].Hook
	s.p.signal(syscall.SIGSTOP)
	awaitStop(s.p.cmd.Process.Pid)
	ctx, cancel := context.WithTimeout(s.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := s.c.call(ctx, h, []byte("verify-1"), sample(h, "verify-1")); err == nil {
		return bad("it answers while it is stopped: another process does its work, which hookmux does not see")
	}
	s.p.signal(syscall.SIGCONT)
	if _, err := s.ask(h, sample(h, "verify-1")); err != nil {
		return bad("after SIGCONT: %v", err)
	}
	return good("no answer while stopped, answers after SIGCONT")
}

func (s *suite) checkCrash() result {
	pid := s.p.cmd.Process.Pid
	s.p.signal(syscall.SIGKILL)
	if !s.p.exits(s.Patience) {
		return bad("it lives after SIGKILL")
	}
	if _, _, left := usage(pid); left {
		s.drop()
		return bad("SIGKILL of the plugin leaves processes in its group; hookmux ends them, with what they were doing")
	}
	s.drop()
	if err := s.start(); err != nil {
		return bad("started again after SIGKILL: %v", err)
	}
	return good("started again after SIGKILL, ready in %s", s.ready.Round(time.Millisecond))
}

// stopStep is what hookmux gives a plugin for each step of stopping.
const stopStep = 2 * time.Second

func (s *suite) checkShutdown() result {
	if _, err := s.call(mux.ProviderUnloaded, mux.OwnUnloadRequest("verify")); err != nil {
		if own := new(pluginError); !errors.As(err, &own) {
			return bad("OnProviderUnloaded: %v", err)
		}
	}
	return s.shutdown()
}

func (s *suite) shutdown() result {
	start := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, stopStep)
	defer cancel()
	cc, err := s.p.dial()
	if err != nil {
		return bad("%v", err)
	}
	defer cc.Close()
	err = cc.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		return note("it has no plugin.GRPCController/Shutdown, so SIGTERM must do")
	}
	defer s.drop()
	if !s.p.exits(stopStep) {
		return bad("it has not ended %s after Shutdown", stopStep)
	}
	if code := s.p.state.ExitCode(); code != 0 {
		return note("it ended, and %s", s.p.how())
	}
	return good("ended in %s", time.Since(start).Round(time.Millisecond))
}

func (s *suite) checkShutdownBusy() result {
	stop, busy := context.WithCancel(s.ctx)
	done := make(chan struct{})
	h, c := s.declared[0].Hook, s.c
	go func() {
		defer close(done)
		for i := 0; stop.Err() == nil; i++ {
			ctx, cancel := context.WithTimeout(stop, time.Second)
			client := fmt.Sprint("verify-", i%10)
			_, err := c.call(ctx, h, []byte(client), sample(h, client))
			cancel()
			if own := new(pluginError); err != nil && !errors.As(err, &own) {
				return
			}
		}
	}()
	r := s.shutdown()
	busy()
	<-done
	return r
}

func (s *suite) checkTerm() result {
	defer s.drop()
	start := time.Now()
	s.p.signal(syscall.SIGTERM)
	if !s.p.exits(stopStep) {
		return bad("it has not ended %s after SIGTERM", stopStep)
	}
	return good("ended in %s, it %s", time.Since(start).Round(time.Millisecond), s.p.how())
}

// checkOrphan starts the plugin from a shell, and kills the shell.
func (s *suite) checkOrphan() result {
	s.drop()
	shell, err := exec.LookPath("sh")
	if err != nil {
		return left("it needs a shell")
	}
	pids, theirs, err := os.Pipe()
	if err != nil {
		return bad("%v", err)
	}
	defer pids.Close()
	// Its own standard streams, so that no broken pipe tells it either.
	script := append([]string{shell, "-c", `"$@" & echo $! >` + fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), theirs.Fd()) + `; wait`, "sh"}, s.Command...)
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return left("it needs /proc")
	}
	p, err := startBy(s, script, fmt.Sprint(s.protocol))
	_ = theirs.Close()
	if err != nil {
		return bad("%v", err)
	}
	defer p.kill()
	var pid int
	line, _ := bufio.NewReader(pids).ReadString('\n')
	if _, err := fmt.Sscan(line, &pid); err != nil {
		return bad("the shell did not say which process the plugin is")
	}
	p.signal(syscall.SIGKILL) // the shell alone
	start := time.Now()
	for alive(pid) {
		if time.Since(start) > s.Patience {
			return bad("it lives %s after its parent died; hookmux's reaper would have to end it", s.Patience)
		}
		time.Sleep(10 * time.Millisecond) // the pause of a poll
	}
	return good("ended %s after its parent died", time.Since(start).Round(10*time.Millisecond))
}

// checkByHand starts the plugin as a curious person would.
func (s *suite) checkByHand() result {
	s.drop()
	var env []string
	for _, v := range environment(s, "1,2") {
		if !strings.HasPrefix(v, "PLUGIN_") && !strings.HasPrefix(v, "HOOKMUX_") && !strings.HasPrefix(v, handshake.CookieKey) {
			env = append(env, v)
		}
	}
	p, err := startCommand(s, s.Command, env)
	if err != nil {
		return bad("%v", err)
	}
	defer p.kill()
	if !p.exits(s.Patience / 2) {
		return note("started by hand, it neither ends nor says that hookmux is to start it")
	}
	said := p.quote()
	select {
	case first := <-p.first:
		said = first + said
	default:
	}
	if said == "" {
		return note("started by hand, it ends without a word")
	}
	return good("it says how it is meant to be run")
}
